#include "corpus/oracle/btf.h"

#include <bpf/btf.h>
#include <linux/btf.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/program/btf_view.h"

namespace bpfsieve {
namespace {

constexpr uint32_t kInfoKind(uint32_t kind, uint32_t vlen) { return kind << 24 | vlen; }

// Bytes that follow the 12 of a type's head.
size_t TailBytes(const btf_type* t) {
  const size_t vlen = btf_vlen(t);
  switch (btf_kind(t)) {
    case BTF_KIND_INT: return 4;
    case BTF_KIND_ARRAY: return sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION: return vlen * sizeof(struct btf_member);
    case BTF_KIND_ENUM: return vlen * sizeof(struct btf_enum);
    case BTF_KIND_ENUM64: return vlen * sizeof(struct btf_enum64);
    case BTF_KIND_FUNC_PROTO: return vlen * sizeof(struct btf_param);
    case BTF_KIND_VAR: return sizeof(struct btf_var);
    case BTF_KIND_DATASEC: return vlen * sizeof(struct btf_var_secinfo);
    case BTF_KIND_DECL_TAG: return 4;
    default: return 0;
  }
}

// Whether the kernel would accept the data section as it is: the layout is known and every member is a variable.
bool DatasecComplete(const struct btf* btf, const btf_type* t) {
  if (t->size == 0) return false;
  uint64_t end = 0;
  const btf_var_secinfo* vars = btf_var_secinfos(t);
  for (int i = 0; i < btf_vlen(t); ++i) {
    const btf_type* v = btf__type_by_id(btf, vars[i].type);
    if (v == nullptr || !btf_is_var(v) || btf_var(v)->linkage == BTF_VAR_GLOBAL_EXTERN) return false;
    if (vars[i].offset < end || vars[i].size == 0) return false;
    const int64_t type_size = btf__resolve_size(btf, v->type);
    if (type_size < 0 || vars[i].size < type_size) return false;
    end = uint64_t{vars[i].offset} + vars[i].size;
    if (end > t->size) return false;
  }
  return true;
}

// The functions that are linked as static whatever their BTF says (hidden ones), and the prototypes of extern ones.
struct Fixes {
  std::set<uint32_t> static_funcs;
  std::set<uint32_t> nameless_protos;
};

Fixes FindFixes(const Object& object, const struct btf* btf) {
  Fixes fixes;
  for (const Program& program : object.programs) {
    for (const Subprog& sub : program.subprogs) {
      if (sub.start != 0 && !sub.global && sub.btf_func_id != 0) fixes.static_funcs.insert(sub.btf_func_id);
    }
  }
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (btf_is_func(t) && btf_vlen(t) == BTF_FUNC_EXTERN) fixes.nameless_protos.insert(t->type);
  }
  return fixes;
}

}  // namespace

std::vector<uint8_t> LoadableBtf(const Object& object) {
  const struct btf* btf = object.btf.get();
  if (btf == nullptr) return {};
  uint32_t raw_size = 0;
  const auto* raw = static_cast<const uint8_t*>(btf__raw_data(btf, &raw_size));
  if (raw == nullptr || raw_size < sizeof(struct btf_header)) return {};
  btf_header header;
  memcpy(&header, raw, sizeof(header));
  if (uint64_t{header.hdr_len} + header.str_off + header.str_len > raw_size) return {};

  const Fixes fixes = FindFixes(object, btf);
  const uint32_t count = btf__type_cnt(btf);
  const uint32_t int_id = count;  // appended below: the type of extern variables
  uint32_t some_name = 0;         // any valid identifier, for parameters that lack one
  for (uint32_t id = 1; id < count && some_name == 0; ++id) {
    const btf_type* t = btf__type_by_id(btf, id);
    if (btf_is_func(t)) some_name = t->name_off;
  }

  std::vector<uint8_t> types;
  for (uint32_t id = 1; id <= count; ++id) {
    if (id == count) {
      const btf_type t{.name_off = some_name, .info = kInfoKind(BTF_KIND_INT, 0), .size = 4};
      const uint32_t encoding = 32;
      types.insert(types.end(), reinterpret_cast<const uint8_t*>(&t), reinterpret_cast<const uint8_t*>(&t + 1));
      types.insert(types.end(), reinterpret_cast<const uint8_t*>(&encoding),
                   reinterpret_cast<const uint8_t*>(&encoding + 1));
      break;
    }
    const btf_type* t = btf__type_by_id(btf, id);
    btf_type head = *t;
    std::vector<uint8_t> tail(reinterpret_cast<const uint8_t*>(t + 1),
                              reinterpret_cast<const uint8_t*>(t + 1) + TailBytes(t));
    if (btf_is_datasec(t) && !DatasecComplete(btf, t)) {
      uint32_t size = t->size;
      for (const MapDef& map : object.maps) {
        if (map.btf_value_type_id == id) size = map.value_size;
      }
      head = {.name_off = 0, .info = kInfoKind(BTF_KIND_STRUCT, 0), .size = size};
      tail.clear();
    } else if (btf_is_var(t) && btf_var(t)->linkage == BTF_VAR_GLOBAL_EXTERN) {
      head.type = int_id;
      const uint32_t linkage = BTF_VAR_GLOBAL_ALLOCATED;
      memcpy(tail.data(), &linkage, sizeof(linkage));
    } else if (btf_is_func(t) && btf_vlen(t) == BTF_FUNC_EXTERN) {
      head.info = kInfoKind(BTF_KIND_FUNC, BTF_FUNC_GLOBAL);
    } else if (btf_is_func(t) && fixes.static_funcs.count(id) != 0) {
      head.info = kInfoKind(BTF_KIND_FUNC, BTF_FUNC_STATIC);
    } else if (btf_is_func_proto(t) && fixes.nameless_protos.count(id) != 0) {
      auto* params = reinterpret_cast<btf_param*>(tail.data());
      for (int i = 0; i < btf_vlen(t); ++i) {
        if (params[i].type != 0 && params[i].name_off == 0) params[i].name_off = some_name;
      }
    }
    types.insert(types.end(), reinterpret_cast<uint8_t*>(&head), reinterpret_cast<uint8_t*>(&head + 1));
    types.insert(types.end(), tail.begin(), tail.end());
  }

  const uint8_t* strings = raw + header.hdr_len + header.str_off;
  header.hdr_len = sizeof(header);
  header.type_off = 0;
  header.type_len = types.size();
  header.str_off = types.size();
  std::vector<uint8_t> out(reinterpret_cast<uint8_t*>(&header), reinterpret_cast<uint8_t*>(&header + 1));
  out.insert(out.end(), types.begin(), types.end());
  out.insert(out.end(), strings, strings + header.str_len);
  return out;
}

absl::StatusOr<RunningBtf> RunningBtf::Load() {
  BtfPtr btf(btf__load_vmlinux_btf());
  if (btf == nullptr) {
    return absl::NotFoundError(absl::StrCat("the kernel's BTF cannot be read: ", strerror(errno)));
  }
  return RunningBtf(std::move(btf));
}

uint32_t RunningBtf::Find(const std::string& name, uint32_t kind) const {
  const int id = btf__find_by_name_kind(btf_.get(), name.c_str(), kind);
  return id > 0 ? id : 0;
}
uint32_t RunningBtf::Func(const std::string& name) const { return Find(name, BTF_KIND_FUNC); }
uint32_t RunningBtf::Var(const std::string& name) const { return Find(name, BTF_KIND_VAR); }
uint32_t RunningBtf::Typedef(const std::string& name) const { return Find(name, BTF_KIND_TYPEDEF); }
uint32_t RunningBtf::Struct(const std::string& name) const { return Find(name, BTF_KIND_STRUCT); }

int RunningBtf::Member(const std::string& structure, const std::string& member) const {
  const btf_type* t = btf__type_by_id(btf_.get(), Struct(structure));
  if (t == nullptr || !btf_is_struct(t)) return -1;
  for (int i = 0; i < btf_vlen(t); ++i) {
    if (BtfName(btf_.get(), btf_members(t)[i].name_off) == member) return i;
  }
  return -1;
}

}  // namespace bpfsieve
