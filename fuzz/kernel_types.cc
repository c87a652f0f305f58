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
  bool is_union = false;
};
struct Function {
  const char* name;
  const char* returns;
  std::vector<Member> params;
};
struct Table {  // of functions, which programs may be
  const char* name;
  std::vector<Function> members;
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
        {"cgroups", "rcu*css_set"}, {"stack", "*"}, {"comm", "u8[16]"}, {"exit_code", "u32"}}},
      {"task_struct__safe_rcu",
       {{"cpus_ptr", "*cpumask"}, {"cgroups", "rcu*css_set"}, {"real_parent", "rcu*task_struct"},
        {"group_leader", "*task_struct"}}},
      {"sk_buff", {{"len", "u32"}, {"data_len", "u32"}}},
      {"xdp_buff", {{"data", "*inode"}, {"frame_sz", "u32"}}},
      {"nf_conn", {{"timeout", "u32"}, {"status", "u64"}, {"mark", "u32"}}},
      {"nf_conn___init", {{"ct", "nf_conn"}}},
      {"bpf_sock_tuple", {{"saddr", "u32"}, {"daddr", "u32"}, {"ports", "u32"}}},
      {"bpf_ct_opts", {{"netns_id", "int"}, {"error", "int"}, {"l4proto", "u8"}, {"dir", "u8"}}},
      {"nf_hook_state", {{"hook", "u8"}, {"pf", "u8"}}},
      {"vm_area_struct", {{"vm_start", "u64"}, {"vm_mm", "*mm_struct"}}},
      {"vm_area_struct__safe_trusted_or_null", {{"vm_mm", "*mm_struct"}}},
      {"ack_sample", {{"pkts_acked", "u32"}, {"rtt_us", "int"}, {"in_flight", "u32"}}},
      {"pt_regs", {{"ip", "u64"}, {"sp", "u64"}}},
      {"bpf_map", {{"map_type", "u32"}, {"key_size", "u32"}, {"value_size", "u32"}, {"max_entries", "u32"}, {"id", "u32"}}},
      {"bpf_array", {{"map", "bpf_map"}, {"elem_size", "u32"}}},
      {"bpf_htab", {{"map", "bpf_map"}, {"elem_size", "u32"}}},
      {"bpf_stack_map", {{"map", "bpf_map"}}},
      {"lpm_trie", {{"map", "bpf_map"}}},
      {"bpf_dtab", {{"map", "bpf_map"}}},
      {"bpf_cpu_map", {{"map", "bpf_map"}}},
      {"xsk_map", {{"map", "bpf_map"}}},
      {"bpf_stab", {{"map", "bpf_map"}}},
      {"bpf_shtab", {{"map", "bpf_map"}}},
      {"reuseport_array", {{"map", "bpf_map"}}},
      {"bpf_arena", {{"map", "bpf_map"}}},
      {"bpf_queue_stack", {{"map", "bpf_map"}}},
      {"bpf_local_storage_map", {{"map", "bpf_map"}}},
      {"bpf_ringbuf_map", {{"map", "bpf_map"}}},
      {"bpf_bloom_filter", {{"map", "bpf_map"}}},
      {"seq_file", {{"size", "u64"}, {"count", "u64"}}},
      {"bpf_iter_meta", {{"seq", "*seq_file"}, {"session_id", "u64"}, {"seq_num", "u64"}}},
      {"bpf_iter_meta__safe_trusted", {{"seq", "*seq_file"}}},
      {"audit_krule", {{"flags", "u32"}}},
      {"security_list_options",
       {{"file_open", "u64"}, {"task_alloc", "u64"}, {"task_free", "u64"}, {"audit_rule_known", "u64"},
        {"file_alloc_security", "u64"}}, true},
      {"sock_common", {{"skc_family", "u32"}}},
      {"sock", {{"__sk_common", "sock_common"}, {"sk_pacing_status", "u32"}, {"sk_pacing_rate", "u64"}}},
      {"icsk_ack", {{"pending", "u8"}, {"quick", "u8"}}},
      {"inet_connection_sock", {{"icsk_inet", "sock"}, {"icsk_ack", "icsk_ack"}, {"icsk_ca_priv", "u64[13]"}}},
      {"tcp_sock", {{"inet_conn", "inet_connection_sock"}, {"snd_ssthresh", "u32"}, {"snd_cwnd", "u32"}, {"mss_cache", "u32"}}},
      {"bpf_dummy_ops_state", {{"val", "u32"}}},
      {"bpf_struct_ops_tcp_congestion_ops", {{"data", "u64"}}},
      {"bpf_struct_ops_bpf_dummy_ops", {{"data", "u64"}}},
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
      {"get_task_mm", "*mm_struct", {{"task", "*task_struct"}}},
      {"bpf_fentry_test1", "int", {{"a", "int"}}},
      {"update_socket_protocol", "int", {{"family", "int"}, {"type", "int"}, {"protocol", "int"}}},
      {"bpf_iter_task", "int", {{"meta", "*bpf_iter_meta"}, {"task", "*task_struct"}}},
      {"bpf_iter_task_file", "int", {{"meta", "*bpf_iter_meta"}, {"task", "*task_struct"}, {"fd", "u32"}, {"file", "*file"}}},
      {"bpf_iter_bpf_map", "int", {{"meta", "*bpf_iter_meta"}, {"map", "*bpf_map"}}},
      {"bpf_iter_bpf_map_elem", "int", {{"meta", "*bpf_iter_meta"}, {"map", "*bpf_map"}, {"key", "*"}, {"value", "*"}}},
      {"bpf_lsm_file_open", "int", {{"file", "*file"}}},
      {"bpf_lsm_file_alloc_security", "int", {{"file", "*file"}}},
      {"bpf_lsm_task_alloc", "int", {{"task", "*task_struct"}, {"clone_flags", "u64"}}},
      {"bpf_lsm_task_free", "", {{"task", "*task_struct"}}},
      {"bpf_lsm_audit_rule_known", "int", {{"krule", "*audit_krule"}}},
      {"bpf_map_sum_elem_count", "u64", {{"map", "*bpf_map"}}},
      {"bpf_arena_alloc_pages", "*",
       {{"p__map", "*"}, {"addr__ign", "*"}, {"page_cnt", "u32"}, {"node_id", "int"}, {"flags", "u64"}}},
      {"bpf_arena_free_pages", "", {{"p__map", "*"}, {"ptr__ign", "*"}, {"page_cnt", "u32"}}},
      {"bpf_xdp_ct_lookup", "*nf_conn", {{"xdp_ctx", "*xdp_md"}, {"bpf_tuple", "*bpf_sock_tuple"}, {"tuple__sz", "u32"}, {"opts", "*bpf_ct_opts"}, {"opts__sz", "u32"}}},
      {"bpf_xdp_ct_alloc", "*nf_conn___init", {{"xdp_ctx", "*xdp_md"}, {"bpf_tuple", "*bpf_sock_tuple"}, {"tuple__sz", "u32"}, {"opts", "*bpf_ct_opts"}, {"opts__sz", "u32"}}},
      {"bpf_skb_ct_lookup", "*nf_conn", {{"skb_ctx", "*__sk_buff"}, {"bpf_tuple", "*bpf_sock_tuple"}, {"tuple__sz", "u32"}, {"opts", "*bpf_ct_opts"}, {"opts__sz", "u32"}}},
      {"bpf_skb_ct_alloc", "*nf_conn___init", {{"skb_ctx", "*__sk_buff"}, {"bpf_tuple", "*bpf_sock_tuple"}, {"tuple__sz", "u32"}, {"opts", "*bpf_ct_opts"}, {"opts__sz", "u32"}}},
      {"bpf_ct_insert_entry", "*nf_conn", {{"nfct_i", "*nf_conn___init"}}},
      {"bpf_ct_release", "", {{"nfct", "*nf_conn"}}},
      {"bpf_ct_set_timeout", "", {{"nfct", "*nf_conn___init"}, {"timeout", "u32"}}},
      {"bpf_ct_change_timeout", "int", {{"nfct", "*nf_conn"}, {"timeout", "u32"}}},
      {"bpf_iter_task_new", "int", {{"it", "*"}, {"task__nullable", "*task_struct"}, {"flags", "u32"}}},
      {"bpf_iter_task_next", "*task_struct", {{"it", "*"}}},
      {"bpf_iter_task_destroy", "", {{"it", "*"}}},
      {"bpf_iter_task_vma_new", "int", {{"it", "*"}, {"task", "*task_struct"}, {"addr", "u64"}}},
      {"bpf_iter_task_vma_next", "*vm_area_struct", {{"it", "*"}}},
      {"bpf_iter_task_vma_destroy", "", {{"it", "*"}}},
      {"tcp_reno_ssthresh", "u32", {{"sk", "*sock"}}},
      {"cubictcp_acked", "", {{"sk", "*sock"}, {"sample", "*ack_sample"}}},
      {"tcp_slow_start", "u32", {{"tp", "*tcp_sock"}, {"acked", "u32"}}},
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

const std::vector<Table>& Tables() {
  static const auto& all = *new std::vector<Table>{
      {"tcp_congestion_ops",
       {{"ssthresh", "u32", {{"sk", "*sock"}}},
        {"cong_avoid", "", {{"sk", "*sock"}, {"ack", "u32"}, {"acked", "u32"}}},
        {"set_state", "", {{"sk", "*sock"}, {"new_state", "u8"}}}}},
      {"bpf_dummy_ops",
       {{"test_1", "int", {{"cb", "*bpf_dummy_ops_state"}}},
        {"test_sleepable", "int", {{"cb", "*bpf_dummy_ops_state"}}}}},
  };
  return all;
}

class Builder {
 public:
  explicit Builder(struct btf* btf) : btf_(btf) {}

  // What members are of comes before the structures, but for pointers: each structure's number is known in advance.
  void Run() {
    for (const auto& [name, size] : {std::pair("u8", 1), {"u32", 4}, {"u64", 8}, {"int", 4}}) {
      ids_[name] = btf__add_int(btf_, name, static_cast<size_t>(size), name == std::string_view("int") ? BTF_INT_SIGNED : 0);
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
        size = s.is_union ? 0 : (size + align - 1) / align * align;
        at.push_back(size);
        size += bytes;
      }
      size = (size + 7) / 8 * 8;
      sizes_[s.is_union ? btf__add_union(btf_, s.name, size) : btf__add_struct(btf_, s.name, size)] = size;
      for (size_t i = 0; i < at.size(); ++i) {
        btf__add_field(btf_, s.members[i].name, Type(s.members[i].type), at[i] * 8, 0);
      }
    }
    for (const Function& f : Functions()) btf__add_func(btf_, f.name, BTF_FUNC_STATIC, Prototype(f));
    for (const Function& f : Tracepoints()) {
      const int proto = Prototype(f);
      btf__add_typedef(btf_, f.name, btf__add_ptr(btf_, proto));
    }
    for (const Table& t : Tables()) {
      std::vector<int> pointers;
      for (const Function& f : t.members) {
        const int proto = Prototype(f);
        pointers.push_back(btf__add_ptr(btf_, proto));
      }
      btf__add_struct(btf_, t.name, static_cast<uint32_t>(8 * pointers.size()));
      for (size_t i = 0; i < pointers.size(); ++i) {
        btf__add_field(btf_, t.members[i].name, pointers[i], static_cast<uint32_t>(64 * i), 0);
      }
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
