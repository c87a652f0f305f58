// Writes the raw verifier tests of a kernel tree as assembly objects, one file per test.
//
// The tests are C initialisers of a struct that their own driver, test_verifier.c, defines: with its macros, its
// functions that fill in long programs, and its tables of which instruction is patched with which map. Copying those
// definitions here would mean keeping a second driver in step with every kernel release. Instead the tree's driver is
// compiled in place, and every call by which it would reach the kernel is redirected to a recorder below: creating a
// map notes its definition, loading BTF keeps the types, and loading the program writes the file. The recorder then
// reports failure, so that the driver goes on to nothing else. No system call but file output is made.
//
// Compiled and run by scripts/import-raw-tests, which generates the list of test files, raw_tests_files.h.

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

// ---- What the driver asked for, test by test ---------------------------------------------------------------------

enum {
  kMaxMaps = 64,
  kMaxBtfs = 64,
  kMaxExterns = 64,
  // File descriptors and type ids handed to the driver: high enough that no test uses one as a number of its own.
  kMapFd = 0x5f000000,
  kBtfFd = 0x5e000000,
  kExternId = 0x5d000000,
};

struct MapRecord {
  enum bpf_map_type type;
  uint32_t key_size, value_size, max_entries, flags;
  int inner;  // index of the inner map's record, -1: none
  int btf;    // index of the BTF that describes it, -1: none
  uint32_t value_type_id;
};

struct Recorder {
  struct MapRecord maps[kMaxMaps];
  int map_count;
  struct btf* btfs[kMaxBtfs];
  int btf_count;
  const char* externs[kMaxExterns];  // kernel functions, by the driver's look-ups
  int extern_count;
  const char* attach_target;  // kernel function or hook, by the driver's look-up
};

static struct Recorder recorder;

static int RecordMapCreate(enum bpf_map_type type, const char* name, uint32_t key_size, uint32_t value_size,
                           uint32_t max_entries, const struct bpf_map_create_opts* opts) {
  (void)name;
  if (recorder.map_count == kMaxMaps) abort();
  struct MapRecord* map = &recorder.maps[recorder.map_count];
  *map = (struct MapRecord){type, key_size, value_size, max_entries, 0, -1, -1, 0};
  if (opts) {
    map->flags = opts->map_flags;
    if (opts->inner_map_fd) map->inner = (int)opts->inner_map_fd - kMapFd;
    if (opts->btf_fd) map->btf = (int)opts->btf_fd - kBtfFd;
    map->value_type_id = opts->btf_value_type_id;
  }
  return kMapFd + recorder.map_count++;
}

static int RecordBtfLoad(const void* data, size_t size, const struct bpf_btf_load_opts* opts) {
  (void)opts;
  if (recorder.btf_count == kMaxBtfs) abort();
  struct btf* btf = btf__new(data, (uint32_t)size);
  if (!btf) {
    fprintf(stderr, "a test's BTF does not parse: %s\n", strerror(errno));
    exit(1);
  }
  recorder.btfs[recorder.btf_count] = btf;
  return kBtfFd + recorder.btf_count++;
}

static int RecordFindKernelFunc(const char* name) {
  for (int i = 0; i < recorder.extern_count; ++i) {
    if (strcmp(recorder.externs[i], name) == 0) return kExternId + i;
  }
  if (recorder.extern_count == kMaxExterns) abort();
  recorder.externs[recorder.extern_count] = name;
  return kExternId + recorder.extern_count++;
}

static int RecordAttachTarget(const char* name) {
  recorder.attach_target = name;
  return 1;
}

static int WriteProgram(enum bpf_prog_type type, const struct bpf_insn* insns, size_t count,
                        const struct bpf_prog_load_opts* opts);

static int RecordProgLoad(enum bpf_prog_type type, const char* name, const char* license, const struct bpf_insn* insns,
                          size_t count, const struct bpf_prog_load_opts* opts) {
  (void)name;
  (void)license;
  // The fillers of program arrays are loaded without options, and what is in such an array plays no part in a verdict.
  if (!opts) return 3;
  errno = 0;
  return WriteProgram(type, insns, count, opts);
}

static void ForgetTest(void) {
  for (int i = 0; i < recorder.btf_count; ++i) btf__free(recorder.btfs[i]);
  memset(&recorder, 0, sizeof(recorder));
}

// ---- The tree's own driver ---------------------------------------------------------------------------------------

#define bpf_map_create(type, name, key, value, entries, opts) RecordMapCreate(type, name, key, value, entries, opts)
#define bpf_map_update_elem(fd, key, value, flags) (0)
#define bpf_btf_load(data, size, opts) RecordBtfLoad(data, size, opts)
#define bpf_prog_load(type, name, license, insns, count, opts) RecordProgLoad(type, name, license, insns, count, opts)
#define btf__load_vmlinux_btf() ((struct btf*)&recorder)
#define btf__find_by_name_kind(btf, name, kind) RecordFindKernelFunc(name)
#define btf__free(btf) ((void)(btf))
#define libbpf_find_vmlinux_btf_id(name, attach) RecordAttachTarget(name)
#define libbpf_probe_bpf_map_type(type, opts) (1)
#define libbpf_probe_bpf_prog_type(type, opts) (1)
#define close(fd) ((void)(fd))
#define printf(...) ((void)0)
#define main DriverMain
#include "test_verifier.c"
#undef bpf_map_create
#undef bpf_map_update_elem
#undef bpf_btf_load
#undef bpf_prog_load
#undef btf__load_vmlinux_btf
#undef btf__find_by_name_kind
#undef btf__free
#undef libbpf_find_vmlinux_btf_id
#undef libbpf_probe_bpf_map_type
#undef libbpf_probe_bpf_prog_type
#undef close
#undef printf
#undef main

// Functions of other files, which the driver calls around running a program: never reached.
int cap_enable_effective(__u64 caps, __u64* old_caps) {
  (void)caps;
  (void)old_caps;
  return -1;
}
int cap_disable_effective(__u64 caps, __u64* old_caps) {
  (void)caps;
  (void)old_caps;
  return -1;
}
// Load flags that the drivers of later kernels (6.6 on) take from their library.
int testing_prog_flags(void) { return BPF_F_TEST_RND_HI32; }

// The driver's own list, verifier/tests.h, is generated empty: with one array per file a test knows where it is from.
// raw_tests_files.h holds for each file
//   static struct bpf_test tests_N[] = {
//   #include "verifier/NAME.c"
//   };
// and the macro TEST_FILES: {"NAME.c", tests_N, ARRAY_SIZE(tests_N)}, ...
#include "raw_tests_files.h"

struct TestFile {
  const char* name;  // "calls.c"
  struct bpf_test* tests;
  size_t count;
};
static const struct TestFile test_files[] = {TEST_FILES};

// ---- Output ------------------------------------------------------------------------------------------------------

static const char* out_dir;
static FILE* index_file;

static struct {
  const struct bpf_test* test;
  const struct TestFile* file;
  size_t number;     // in all files, from 0: what the driver prints
  size_t in_file;    // in its file, from 0
  bool loaded;       // its program was written
} current;

// Appends `text` in lower case with every run of other characters than letters and digits as one '-'.
static void AppendSlug(char* out, size_t size, const char* text) {
  size_t n = strlen(out);
  for (; *text && n + 2 < size; ++text) {
    char c = *text;
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      out[n++] = c;
    } else if (n > 0 && out[n - 1] != '-') {
      out[n++] = '-';
    }
  }
  while (n > 0 && out[n - 1] == '-') --n;
  out[n] = 0;
}

// One line of `text`: control characters, which the expected messages use as separators, become spaces.
static void PrintLine(FILE* f, const char* text) {
  for (; *text; ++text) fputc((unsigned char)*text < 0x20 ? ' ' : *text, f);
}

static void PrintCsv(FILE* f, const char* text) {
  fputc('"', f);
  for (; *text; ++text) {
    if (*text == '"') fputc('"', f);
    fputc((unsigned char)*text < 0x20 ? ' ' : *text, f);
  }
  fputc('"', f);
}

static void Fail(const char* what) {
  fprintf(stderr, "%s #%zu '%s': %s\n", current.file->name, current.number, current.test->descr, what);
  exit(1);
}

static const struct btf_type* SkipModifiers(const struct btf* btf, uint32_t id) {
  const struct btf_type* t = btf__type_by_id(btf, id);
  while (t && (btf_is_mod(t) || btf_is_typedef(t)) && !btf_is_type_tag(t)) t = btf__type_by_id(btf, t->type);
  return t;
}

// The fields of a map's value that the kernel manages, as `field=` settings.
static void PrintFields(FILE* f, const struct MapRecord* map) {
  if (map->btf < 0 || !map->value_type_id) return;
  const struct btf* btf = recorder.btfs[map->btf];
  const struct btf_type* value = SkipModifiers(btf, map->value_type_id);
  if (!value || !btf_is_struct(value)) Fail("a map's value type is not a struct");
  bool old_tags = false;
  for (uint32_t i = 1; i < btf__type_cnt(btf); ++i) {
    const struct btf_type* t = btf__type_by_id(btf, i);
    old_tags |= btf_is_type_tag(t) && strcmp(btf__name_by_offset(btf, t->name_off), "kptr_ref") == 0;
  }
  for (int i = 0; i < btf_vlen(value); ++i) {
    uint32_t offset = btf_member_bit_offset(value, i) / 8;
    const struct btf_type* t = SkipModifiers(btf, btf_members(value)[i].type);
    if (!t) Fail("a map's value type is damaged");
    const char* name = btf__name_by_offset(btf, t->name_off);
    if (btf_is_struct(t) && strcmp(name, "bpf_spin_lock") == 0) {
      fprintf(f, " field=spin_lock@%u", offset);
    } else if (btf_is_struct(t) && strcmp(name, "bpf_timer") == 0) {
      fprintf(f, " field=timer@%u", offset);
    } else if (btf_is_ptr(t)) {
      const struct btf_type* tag = SkipModifiers(btf, t->type);
      if (!tag || !btf_is_type_tag(tag)) continue;
      const char* tag_name = btf__name_by_offset(btf, tag->name_off);
      const struct btf_type* target = SkipModifiers(btf, tag->type);
      // Linux 6.4 renamed the tags: what was "kptr" is "kptr_untrusted" and what was "kptr_ref" is "kptr".
      const bool trusted = strcmp(tag_name, old_tags ? "kptr_ref" : "kptr") == 0;
      const char* kind = trusted ? "kptr" : "kptr_untrusted";
      fprintf(f, " field=%s@%u:%s", kind, offset, target ? btf__name_by_offset(btf, target->name_off) : "");
    } else if (!btf_is_int(t)) {
      Fail("a map's value has a field of unknown kind");
    }
  }
}

static void PrintMaps(FILE* f) {
  for (int i = 0; i < recorder.map_count; ++i) {
    const struct MapRecord* map = &recorder.maps[i];
    fprintf(f, ".map m%d type=%s key=%u value=%u entries=%u", i, libbpf_bpf_map_type_str(map->type), map->key_size,
            map->value_size, map->max_entries);
    if (map->flags) fprintf(f, " flags=0x%x", map->flags);
    if (map->inner >= 0) fprintf(f, " inner=m%d", map->inner);
    PrintFields(f, map);
    fputc('\n', f);
  }
}

static void PrintFlags(FILE* f, uint32_t flags, const char* separator) {
  // BPF_F_TEST_RND_HI32, which the driver always sets, changes only the code that comes out.
  static const struct {
    uint32_t flag;
    const char* name;
  } kNames[] = {{BPF_F_STRICT_ALIGNMENT, "strict_alignment"},
                {BPF_F_ANY_ALIGNMENT, "any_alignment"},
                {BPF_F_TEST_STATE_FREQ, "test_state_freq"},
                {BPF_F_SLEEPABLE, "sleepable"}};
  flags &= ~(uint32_t)BPF_F_TEST_RND_HI32;
  const char* before = "";
  for (size_t i = 0; i < sizeof(kNames) / sizeof(kNames[0]); ++i) {
    if (!(flags & kNames[i].flag)) continue;
    fprintf(f, "%s%s", before, kNames[i].name);
    before = separator;
    flags &= ~kNames[i].flag;
  }
  if (flags) Fail("a load flag of unknown meaning");
}

// A kernel function that no kernel has: what a call of function number 0 calls.
static const char kNoSuchFunction[] = "no_such_function";

// One instruction with the driver's numbers turned back into what they stand for.
static void PrintInsn(FILE* f, const struct bpf_insn* insn, bool second_half, bool* calls_nothing) {
  int32_t imm = insn->imm;
  if (!second_half && insn->code == (BPF_LD | BPF_IMM | BPF_DW) &&
      (insn->src_reg == BPF_PSEUDO_MAP_FD || insn->src_reg == BPF_PSEUDO_MAP_VALUE)) {
    imm -= kMapFd;
    if (imm < 0 || imm >= recorder.map_count) imm = -1;  // a number that is no map, on purpose
  } else if (!second_half && insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL) {
    if (insn->dst_reg || insn->off) Fail("a call of a kernel function with fields that its text does not have");
    const int index = imm - kExternId;
    const bool known = index >= 0 && index < recorder.extern_count;
    if (!known && imm != 0) Fail("a call of a kernel function by a number of its own");
    fprintf(f, "  call kfunc[%s]\n", known ? recorder.externs[index] : kNoSuchFunction);
    *calls_nothing |= !known;
    return;
  }
  fprintf(f, "  .insn code=0x%02x dst=%d src=%d off=%d imm=%d\n", insn->code, insn->dst_reg, insn->src_reg, insn->off,
          imm);
}

static int WriteProgram(enum bpf_prog_type type, const struct bpf_insn* insns, size_t count,
                        const struct bpf_prog_load_opts* opts) {
  char name[128] = "";
  AppendSlug(name, sizeof(name), current.file->name);
  size_t n = strlen(name);
  if (n > 2 && strcmp(name + n - 2, "-c") == 0) name[n - 2] = 0;
  n = strlen(name);
  n += (size_t)snprintf(name + n, sizeof(name) - n, "-%03zu-", current.in_file);
  AppendSlug(name, n + 64 < sizeof(name) ? n + 64 : sizeof(name), current.test->descr);

  char path[4096];
  snprintf(path, sizeof(path), "%s/%s.bpfasm", out_dir, name);
  FILE* f = fopen(path, "w");
  if (!f) Fail(strerror(errno));

  const char* type_name = libbpf_bpf_prog_type_str(type);
  const char* attach_name = libbpf_bpf_attach_type_str(opts->expected_attach_type);
  if (!type_name || !attach_name) Fail("a program or attach type that this libbpf does not know");
  // As the driver has it: what is not accepted, a test without a result too, must be refused.
  const bool accepted = current.test->result == ACCEPT || current.test->result == VERBOSE_ACCEPT;

  fprintf(f, ".origin linux verifier/%s test %zu (#%zu): ", current.file->name, current.in_file, current.number);
  PrintLine(f, current.test->descr);
  fprintf(f, "\n.license GPL\n.type %s\n", type_name);
  // Always said: where it is left out, a type's own default holds, which may be another than the kernel's 0.
  fprintf(f, ".attach %s\n", attach_name);
  if (recorder.attach_target) fprintf(f, ".attach_target %s\n", recorder.attach_target);
  if (opts->prog_flags & ~(uint32_t)BPF_F_TEST_RND_HI32) {
    fprintf(f, ".flags ");
    PrintFlags(f, opts->prog_flags, " ");
    fputc('\n', f);
  }
  PrintMaps(f);
  fprintf(f, ".prog main\n");

  const struct bpf_func_info* infos = (const struct bpf_func_info*)opts->func_info;
  bool second_half = false;
  bool calls_nothing = false;
  for (size_t i = 0; i < count; ++i) {
    for (uint32_t j = 0; j < opts->func_info_cnt; ++j) {
      if (infos[j].insn_off != i) continue;
      const struct btf* btf = recorder.btfs[(int)opts->prog_btf_fd - kBtfFd];
      const struct btf_type* func = btf__type_by_id(btf, infos[j].type_id);
      if (!func || !btf_is_func(func)) Fail("function information names no function");
      fprintf(f, ".func %s_%u%s\n", btf__name_by_offset(btf, func->name_off), j,
              btf_vlen(func) == BTF_FUNC_GLOBAL ? " global" : "");
    }
    PrintInsn(f, &insns[i], second_half, &calls_nothing);
    second_half = !second_half && insns[i].code == (BPF_LD | BPF_IMM | BPF_DW);
  }
  if (calls_nothing) fprintf(f, ".weak %s\n", kNoSuchFunction);
  if (ferror(f) || fclose(f) != 0) Fail("the file cannot be written");

  fprintf(index_file, "%s.bpfasm,main,", name);
  PrintCsv(index_file, current.test->descr);
  fprintf(index_file, ",%s,%s,%s,", type_name, opts->expected_attach_type ? attach_name : "",
          accepted ? "accept" : "reject");
  PrintCsv(index_file, current.test->errstr ? current.test->errstr : "");
  fputc(',', index_file);
  PrintFlags(index_file, opts->prog_flags, " ");
  fprintf(index_file, ",%u,%zu\n", current.test->insn_processed, count);
  current.loaded = true;
  return -1;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s OUT_DIR\n", argv[0]);
    return 2;
  }
  out_dir = argv[1];
  char path[4096];
  snprintf(path, sizeof(path), "%s/index.csv", out_dir);
  index_file = fopen(path, "w");
  if (!index_file) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
  }
  fprintf(index_file, "file,prog,description,prog_type,attach_type,expected,errstr,flags,insn_processed,insns\n");

  size_t written = 0;
  for (size_t i = 0; i < ARRAY_SIZE(test_files); ++i) {
    for (size_t j = 0; j < test_files[i].count; ++j) {
      current.test = &test_files[i].tests[j];
      current.file = &test_files[i];
      current.number = written;
      current.in_file = j;
      current.loaded = false;
      int passes = 0, errors = 0;
      srand(1);  // programs with random constants come out the same every time
      do_test_single(&test_files[i].tests[j], false, &passes, &errors);
      if (!current.loaded) Fail("the driver did not load the program");
      ++written;
      ForgetTest();
    }
  }
  if (ferror(index_file) || fclose(index_file) != 0) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
  }
  printf("%zu tests of %zu files\n", written, ARRAY_SIZE(test_files));
  return 0;
}
