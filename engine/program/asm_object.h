// Programs as text (.bpfasm): instructions in the assembler's syntax (engine/isa/assembler.h) and directives.
//
//   .license GPL                       ; of the file; the rest of the line, quotes allowed
//   .map counters type=hash key=4 value=8 entries=1
//   .map ro type=array key=4 value=4 entries=1 flags=0x80 frozen data=2a000000
//   .map locked type=array key=4 value=24 entries=1 field=spin_lock@0 field=timer@8
//   .map outer type=array_of_maps key=4 value=4 entries=2 inner=counters
//   .struct node size=40 field=list_node@8 ; a structure of the program's own: the n-th is type n of its BTF
//   .prog drop_all                     ; starts a program; without one the file is one program, "prog"
//   .type xdp                          ; libbpf's names
//   .attach xdp_devmap                 ; expected attach type; else the type's own default
//   .attach_target file_open           ; kernel function, hook or event: what follows the slash in a section name
//   .flags sleepable                   ; strict_alignment any_alignment sleepable test_state_freq frags
//   .origin free text                  ; where it comes from; not read
//   .note free text                    ; not read
//   .expect reject mem-type "invalid mem access"
//     call helper_like
//     exit
//   .func helper_like                  ; a subprogram: a label that calls can name
//     r0 = 0
//     exit
//   .func checked global               ; verified on its own
//   .func typed global u64,ctx,mem:16  ; and takes these: see ValidPrototype() in asm_btf.h
//   .weak bpf_maybe_there              ; of the file: the kernel may lack this function or variable
//
// .type, .attach, .flags and .expect in front of the first .prog hold for every program that does not say otherwise.
// .expect is one of
//   accept | reject RULE ["message"] | limit RULE ["message"] | unsupported ["feature"] | invalid ["message"]
// where RULE is a code of rules.inc and the quoted text a part of the message. Where a program breaks two rules and
// either may be found first, "reject RULE | reject RULE" accepts both. That is the verdict for a loader with all
// capabilities; ".expect without perfmon ..." and ".expect without bpf ..." are those for one that lacks them.
// A program with a .func, and every one in a file with a .struct, has function information, and each function of it a prototype (asm_btf.h); one that only
// calls labels has none.
// Maps and programs are named by letters, digits, '_', '.' and '$'. map[NAME], kfunc[NAME] and ksym[NAME] in
// instructions become indices in Object::maps and Program::externs. Map index -1 is no map, on purpose, as a bad file
// descriptor is.
// Fields of map values: spin_lock res_spin_lock timer wq task_work kptr_untrusted kptr percpu_kptr uptr list_head
// list_node rb_root rb_node refcount; a pointer may name its structure: field=kptr@8:task_struct; a list or tree what it
// holds, and where in it its node lies: field=list_head@16:node.8. "extra=N" gives map_extra, "template" marks a map that is
// an inner definition only. What is no field in a structure is bytes.
#ifndef BPFSIEVE_ENGINE_PROGRAM_ASM_OBJECT_H_
#define BPFSIEVE_ENGINE_PROGRAM_ASM_OBJECT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/report/finding.h"

namespace bpfsieve {

// What a file says about the verdict on one of its programs.
struct AsmExpectation {
  std::string program;
  std::string without;       // the capability that the loader lacks: "", "perfmon", "bpf"
  Verdict verdict = Verdict::kAccept;
  std::optional<Rule> rule;  // kReject and kLimit
  std::string message;       // must occur in the message or the unsupported feature's name; empty: anything will do
  // Other outcomes that will do as well; of the same verdict, and without alternatives of their own.
  std::vector<AsmExpectation> alternatives;
};

// One entry per program that has an expectation, in the file's order, followed by its entries without capabilities. The
// instructions are not looked at. Errors are InvalidArgument and start with "line N: ".
absl::StatusOr<std::vector<AsmExpectation>> ParseAsmExpectations(std::string_view text);

}  // namespace bpfsieve

#endif  // BPFSIEVE_ENGINE_PROGRAM_ASM_OBJECT_H_
