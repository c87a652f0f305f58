#include "fuzz/kernel_types.h"

#include <bpf/btf.h>

#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bpfsieve {
namespace {

struct Member {
  const char* name;
  const char* type;
};
struct Structure {
  const char* name;
  std::vector<Member> members;
};
struct Function {
  const char* name;
  const char* returns;
  std::vector<Member> params;
};

// Types: "u32"; "u8[16]"; "*task_struct"; "rcu*task_struct", with that tag. Members as the kernel has them, where a program
// names them by name alone; not at the kernel's offsets.
const std::vector<Structure>& Structures() {
  static const auto& all = *new std::vector<Structure>{
      {"cgroup", {{"level", "u32"}, {"max_depth", "u32"}}},
      {"css_set", {{"dfl_cgrp", "*cgroup"}, {"nr_tasks", "u32"}}},
      {"inode", {{"i_mode", "u32"}, {"i_ino", "u64"}}},
      {"file", {{"f_flags", "u32"}, {"f_inode", "*inode"}}},
      {"file__safe_trusted", {{"f_inode", "*inode"}}},
      {"mm_struct", {{"start_code", "u64"}, {"exe_file", "rcu*file"}}},
      {"mm_struct__safe_rcu_or_null", {{"exe_file", "rcu*file"}}},
      {"cpumask", {{"bits", "u64[128]"}}},
      {"bpf_cpumask", {{"cpumask", "cpumask"}, {"usage", "u32"}}},
      {"task_struct",
       {{"__state", "u32"}, {"pid", "u32"}, {"tgid", "u32"}, {"cpus_ptr", "*cpumask"}, {"mm", "*mm_struct"},
        {"real_parent", "rcu*task_struct"}, {"group_leader", "*task_struct"}, {"last_wakee", "*task_struct"},
        {"cgroups", "rcu*css_set"}, {"comm", "u8[16]"}, {"exit_code", "u32"}}},
      {"task_struct__safe_rcu",
       {{"cpus_ptr", "*cpumask"}, {"cgroups", "rcu*css_set"}, {"real_parent", "rcu*task_struct"},
        {"group_leader", "*task_struct"}}},
      {"sk_buff", {{"len", "u32"}, {"data_len", "u32"}}},
      {"xdp_buff", {{"data", "*inode"}, {"frame_sz", "u32"}}},
      {"__sk_buff", {{"len", "u32"}}},
      {"xdp_md", {{"data", "u32"}}},
      {"bpf_ctx_convert",
       {{"BPF_PROG_TYPE_SCHED_CLS_prog", "__sk_buff"}, {"BPF_PROG_TYPE_SCHED_CLS_kern", "sk_buff"},
        {"BPF_PROG_TYPE_XDP_prog", "xdp_md"}, {"BPF_PROG_TYPE_XDP_kern", "xdp_buff"}}},
  };
  return all;
}

const std::vector<Function>& Functions() {
  static const auto& all = *new std::vector<Function>{
      {"wake_up_new_task", "", {{"p", "*task_struct"}}},
      {"bpf_task_acquire", "*task_struct", {{"p", "*task_struct"}}},
      {"bpf_task_release", "", {{"p", "*task_struct"}}},
      {"bpf_task_from_pid", "*task_struct", {{"pid", "u32"}}},
      {"bpf_task_from_vpid", "*task_struct", {{"vpid", "u32"}}},
      {"bpf_task_get_cgroup1", "*cgroup", {{"task", "*task_struct"}, {"hierarchy_id", "u32"}}},
      {"bpf_task_under_cgroup", "u64", {{"task", "*task_struct"}, {"ancestor", "*cgroup"}}},
      {"bpf_cgroup_acquire", "*cgroup", {{"cgrp", "*cgroup"}}},
      {"bpf_cgroup_release", "", {{"cgrp", "*cgroup"}}},
      {"bpf_cgroup_ancestor", "*cgroup", {{"cgrp", "*cgroup"}, {"level", "u32"}}},
      {"bpf_cgroup_from_id", "*cgroup", {{"cgid", "u64"}}},
      {"bpf_cpumask_create", "*bpf_cpumask", {}},
      {"bpf_cpumask_acquire", "*bpf_cpumask", {{"cpumask", "*bpf_cpumask"}}},
      {"bpf_cpumask_release", "", {{"cpumask", "*bpf_cpumask"}}},
      {"bpf_cpumask_set_cpu", "", {{"cpu", "u32"}, {"cpumask", "*bpf_cpumask"}}},
      {"bpf_cpumask_clear", "", {{"cpumask", "*bpf_cpumask"}}},
      {"bpf_cpumask_copy", "", {{"dst", "*bpf_cpumask"}, {"src", "*cpumask"}}},
      {"bpf_cpumask_first", "u32", {{"cpumask", "*cpumask"}}},
      {"bpf_cpumask_weight", "u32", {{"cpumask", "*cpumask"}}},
  };
  return all;
}

// Tracepoints: the handler's type has an argument of the tracing machinery's in front.
const std::vector<Function>& Tracepoints() {
  static const auto& all = *new std::vector<Function>{
      {"btf_trace_task_newtask", "", {{"", "*"}, {"", "*task_struct"}, {"", "u64"}}},
      {"btf_trace_sched_process_exit", "", {{"", "*"}, {"", "*task_struct"}, {"", "u8"}}},
      {"btf_trace_sched_pi_setprio", "", {{"", "*"}, {"", "*task_struct"}, {"", "*task_struct"}}},
  };
  return all;
}

class Builder {
 public:
  explicit Builder(struct btf* btf) : btf_(btf) {}

  // What members are of comes before the structures, but for pointers: each structure's number is known in advance.
  void Run() {
    for (const auto& [name, size] : {std::pair("u8", 1), {"u32", 4}, {"u64", 8}}) {
      ids_[name] = btf__add_int(btf_, name, static_cast<size_t>(size), 0);
      sizes_[ids_[name]] = static_cast<uint32_t>(size);
    }
    // Two of each pointer, an array or two: placed before, so that they have numbers.
    const int first = static_cast<int>(btf__type_cnt(btf_)) + Others();
    int next = first;
    for (const Structure& s : Structures()) ids_[s.name] = next++;
    for (const Structure& s : Structures()) {
      for (const Member& m : s.members) (void)Type(m.type);
    }
    for (const Structure& s : Structures()) {
      uint32_t size = 0;
      std::vector<uint32_t> at;
      for (const Member& m : s.members) {
        const uint32_t bytes = Size(Type(m.type)), align = bytes < 8 ? bytes : 8;
        size = (size + align - 1) / align * align;
        at.push_back(size);
        size += bytes;
      }
      size = (size + 7) / 8 * 8;
      sizes_[btf__add_struct(btf_, s.name, size)] = size;
      for (size_t i = 0; i < at.size(); ++i) {
        btf__add_field(btf_, s.members[i].name, Type(s.members[i].type), at[i] * 8, 0);
      }
    }
    for (const Function& f : Functions()) btf__add_func(btf_, f.name, BTF_FUNC_STATIC, Prototype(f));
    for (const Function& f : Tracepoints()) {
      const int proto = Prototype(f);
      btf__add_typedef(btf_, f.name, btf__add_ptr(btf_, proto));
    }
  }

 private:
  // Types that members have beside structures and integers.
  int Others() const {
    std::map<std::string_view, int> seen;
    for (const Structure& s : Structures()) {
      for (const Member& m : s.members) {
        const std::string_view type = m.type;
        if (type.ends_with("]")) seen[type] = 1;
        if (type.starts_with("*")) seen[type] = 1;
        if (type.starts_with("rcu")) seen[type] = 2;
      }
    }
    int n = 0;
    for (const auto& [type, count] : seen) n += count;
    return n;
  }

  int Type(std::string_view text) {
    if (text.empty()) return 0;
    if (auto known = ids_.find(std::string(text)); known != ids_.end()) return known->second;
    int id;
    if (text.starts_with("rcu*")) {
      id = btf__add_ptr(btf_, btf__add_type_tag(btf_, "rcu", Type(text.substr(4))));
      sizes_[id] = 8;
    } else if (text.starts_with("*")) {
      id = btf__add_ptr(btf_, Type(text.substr(1)));
      sizes_[id] = 8;
    } else {
      const size_t open = text.find('[');
      uint32_t count = 0;
      std::from_chars(text.data() + open + 1, text.data() + text.size(), count);
      const int element = Type(text.substr(0, open));
      id = btf__add_array(btf_, ids_["u32"], element, count);
      sizes_[id] = count * Size(element);
    }
    ids_[std::string(text)] = id;
    return id;
  }
  uint32_t Size(int id) { return sizes_[id]; }

  int Prototype(const Function& f) {
    std::vector<int> types;
    for (const Member& p : f.params) types.push_back(Type(p.type));
    const int id = btf__add_func_proto(btf_, Type(f.returns));
    for (size_t i = 0; i < types.size(); ++i) btf__add_func_param(btf_, f.params[i].name, types[i]);
    return id;
  }

  struct btf* btf_;
  std::map<std::string, int> ids_;
  std::map<int, uint32_t> sizes_;
};

std::shared_ptr<const KernelBtf> Build() {
  BtfPtr btf(btf__new_empty());
  if (btf == nullptr) return nullptr;
  Builder(btf.get()).Run();
  if (!CheckBtf(btf.get()).ok()) return nullptr;
  return std::make_shared<const KernelBtf>(std::move(btf));
}

}  // namespace

std::shared_ptr<const KernelBtf> SmallKernel() {
  static const auto& types = *new std::shared_ptr<const KernelBtf>(Build());
  return types;
}

}  // namespace bpfsieve
