// BTF-defined maps (section .maps) and the maps that hold global data. What libbpf refuses as a definition makes that
// map unusable, not the object.
#include <elf.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

constexpr char kMapsSection[] = ".maps";
constexpr char kKconfigSection[] = ".kconfig";
constexpr char kKsymsSection[] = ".ksyms";
constexpr char kArenaSection[] = ".addr_space.1";
constexpr uint32_t kPageSize = 4096;
constexpr int kMaxAttributes = 64;               // of one map definition; a dozen are known
constexpr uint64_t kMaxZeroData = uint64_t{1} << 20;  // of a .bss that is written out

bool IsMapInMap(MapType type) { return type == MapType::kArrayOfMaps || type == MapType::kHashOfMaps; }

// An attribute's number: a pointer to an array of that many elements, or an enumeration with that one value.
bool AttributeNumber(const struct btf* btf, const btf_member& member, uint64_t* out) {
  const btf_type* type = SkipModifiers(btf, member.type, nullptr);
  if (type == nullptr) return false;
  if (btf_is_ptr(type)) {
    const btf_type* array = btf__type_by_id(btf, type->type);
    if (!btf_is_array(array)) return false;
    *out = btf_array(array)->nelems;
    return true;
  }
  if (btf_vlen(type) != 1) return false;
  if (btf_is_enum(type)) {
    *out = static_cast<uint32_t>(btf_enum(type)->val);
    return true;
  }
  if (btf_is_enum64(type)) {
    *out = btf_enum64_value(btf_enum64(type));
    return true;
  }
  return false;
}

// The kernel wants a page times a power of two; libbpf rounds up to it.
uint32_t RingbufSize(uint32_t size) {
  if (size == 0) return 0;
  const uint32_t pages = size / kPageSize;
  if (size % kPageSize == 0 && (pages & (pages - 1)) == 0) return size;
  for (uint64_t rounded = kPageSize; rounded <= UINT32_MAX; rounded <<= 1) {
    if (rounded > size) return static_cast<uint32_t>(rounded);
  }
  return size;
}

// Reads one definition: the structure type that a variable in .maps has.
class Definition {
 public:
  Definition(const struct btf* btf, bool is_inner) : btf_(btf), is_inner_(is_inner) {}

  // Fills `map`, and `inner` when the definition has an inner one. Returns the reason where libbpf refuses it.
  std::string Read(const btf_type* structure, MapDef* map, std::optional<MapDef>* inner) {
    const int count = btf_vlen(structure);
    if (count > kMaxAttributes) return "too many attributes";
    for (int i = 0; i < count; ++i) {
      const btf_member& member = btf_members(structure)[i];
      std::string error = Attribute(BtfName(btf_, member.name_off), member, i == count - 1, map, inner);
      if (!error.empty()) return error;
    }
    if (map->type == MapType::kUnspec) return "map type isn't specified";
    if (map->type == MapType::kRingbuf || map->type == MapType::kUserRingbuf) {
      map->max_entries = RingbufSize(map->max_entries);
    }
    return "";
  }

 private:
  std::string Attribute(std::string_view name, const btf_member& member, bool is_last, MapDef* map,
                        std::optional<MapDef>* inner) {
    if (name == "key") return Typed(member, "key", &map->key_size, &map->btf_key_type_id);
    if (name == "value") return Typed(member, "value", &map->value_size, &map->btf_value_type_id);
    if (name == "values") return Values(member, is_last, map, inner);
    uint64_t number = 0;
    constexpr std::string_view kNumbers[] = {"type",     "max_entries", "map_flags", "numa_node",
                                             "key_size", "value_size",  "pinning",   "map_extra"};
    if (std::find(std::begin(kNumbers), std::end(kNumbers), name) == std::end(kNumbers)) {
      return absl::StrCat("unknown field '", CopyName(name), "'");
    }
    if (!AttributeNumber(btf_, member, &number)) return absl::StrCat("attr '", CopyName(name), "' is not a number");
    if (name == "type") map->type = static_cast<MapType>(number);
    if (name == "max_entries") map->max_entries = static_cast<uint32_t>(number);
    if (name == "map_flags") map->flags = static_cast<uint32_t>(number);
    if (name == "map_extra") map->extra = number;
    if (name == "key_size") return SetSize("key", static_cast<uint32_t>(number), &map->key_size);
    if (name == "value_size") return SetSize("value", static_cast<uint32_t>(number), &map->value_size);
    // Where a map is pinned, and on which node its memory lies, is nothing to a verifier.
    return "";
  }

  std::string SetSize(absl::string_view what, uint32_t size, uint32_t* out) {
    if (*out != 0 && *out != size) return absl::StrCat("conflicting ", what, " size ", *out, " != ", size);
    *out = size;
    return "";
  }

  std::string Typed(const btf_member& member, absl::string_view what, uint32_t* size, uint32_t* type_id) {
    const btf_type* type = btf__type_by_id(btf_, member.type);
    if (!btf_is_ptr(type)) return absl::StrCat(what, " spec is not a pointer");
    const int64_t resolved = BtfSize(btf_, type->type);
    if (resolved < 0 || resolved > UINT32_MAX) return absl::StrCat("can't determine ", what, " size");
    *type_id = type->type;
    return SetSize(what, static_cast<uint32_t>(resolved), size);
  }

  std::string Values(const btf_member& member, bool is_last, MapDef* map, std::optional<MapDef>* inner) {
    const bool is_prog_array = map->type == MapType::kProgArray;
    if (is_inner_) return "multi-level inner maps not supported";
    if (!is_last) return "'values' member should be last";
    if (!IsMapInMap(map->type) && !is_prog_array) return "should be map-in-map or prog-array";
    if (std::string error = SetSize("value", 4, &map->value_size); !error.empty()) return error;
    const btf_type* array = btf__type_by_id(btf_, member.type);
    if (!btf_is_array(array) || btf_array(array)->nelems != 0) return "'values' is not a zero-sized array";
    const btf_type* pointer = SkipModifiers(btf_, btf_array(array)->type, nullptr);
    if (!btf_is_ptr(pointer)) return "'values' are not pointers";
    const btf_type* target = SkipModifiers(btf_, pointer->type, nullptr);
    if (is_prog_array) return btf_is_func_proto(target) ? "" : "prog-array values are not functions";
    if (!btf_is_struct(target)) return "map-in-map inner definition is not a structure";
    inner->emplace();
    (*inner)->name = absl::StrCat(map->name, ".inner");
    (*inner)->is_inner_template = true;
    return Definition(btf_, /*is_inner=*/true).Read(target, &**inner, nullptr);
  }

  const struct btf* btf_;
  bool is_inner_;
};

// Offset of a variable's symbol by name, for the variables that compilers leave to the loader.
absl::flat_hash_map<std::string_view, const ElfSymbol*> GlobalVariables(const ElfFile& elf) {
  absl::flat_hash_map<std::string_view, const ElfSymbol*> result;
  for (const ElfSymbol& symbol : elf.symbols) {
    if (symbol.type == STT_OBJECT && (symbol.bind == STB_GLOBAL || symbol.bind == STB_WEAK)) {
      result.try_emplace(symbol.name, &symbol);
    }
  }
  return result;
}

bool HasExportedVariable(const struct btf* btf, const btf_type* datasec) {
  for (int i = 0; i < btf_vlen(datasec); ++i) {
    const btf_type* variable = btf__type_by_id(btf, btf_var_secinfos(datasec)[i].type);
    if (btf_is_var(variable) && btf_var(variable)->linkage != BTF_VAR_STATIC) return true;
  }
  return false;
}

// Compilers leave sizes of data sections and places of global variables open in BTF; their symbols tell. The object's
// BTF is ours to complete until it is published.
void CompleteDatasecs(ElfLoader* loader) {
  const struct btf* btf = loader->object->btf.get();
  auto variables = GlobalVariables(loader->elf);
  absl::flat_hash_map<std::string_view, uint64_t> section_size;
  for (const ElfSection& section : loader->elf.sections) section_size.try_emplace(section.name, section.size);
  for (uint32_t id = 1; id < btf__type_cnt(btf); ++id) {
    auto* type = const_cast<btf_type*>(btf__type_by_id(btf, id));
    if (!btf_is_datasec(type)) continue;
    std::string_view name = BtfName(btf, type->name_off);
    loader->datasecs.try_emplace(name, id);
    if (name == kKconfigSection || name == kKsymsSection) {
      if (HasExportedVariable(btf, type)) loader->exported_datasecs.insert(id);
      continue;
    }
    const bool complete = type->size != 0;
    if (!complete) {
      auto size = section_size.find(name);
      if (size == section_size.end()) continue;
      type->size = static_cast<uint32_t>(std::min<uint64_t>(size->second, UINT32_MAX));
    }
    btf_var_secinfo* infos = btf_var_secinfos(type);
    for (int i = 0; i < btf_vlen(type); ++i) {
      const btf_type* variable = btf__type_by_id(btf, infos[i].type);
      if (!btf_is_var(variable) || btf_var(variable)->linkage != BTF_VAR_GLOBAL_ALLOCATED) continue;
      auto symbol = variables.find(BtfName(btf, variable->name_off));
      if (symbol == variables.end()) continue;
      if (!complete) infos[i].offset = static_cast<uint32_t>(symbol->second->value);
      if (symbol->second->visibility == STV_HIDDEN || symbol->second->visibility == STV_INTERNAL) {
        const_cast<struct btf_var*>(btf_var(variable))->linkage = BTF_VAR_STATIC;
      }
    }
    if (HasExportedVariable(btf, type)) loader->exported_datasecs.insert(id);
    std::sort(infos, infos + btf_vlen(type), [](const btf_var_secinfo& a, const btf_var_secinfo& b) {
      return std::pair(a.offset, a.type) < std::pair(b.offset, b.type);
    });
  }
}

uint32_t FindDatasec(const ElfLoader& loader, std::string_view name) {
  auto it = loader.datasecs.find(name);
  return it == loader.datasecs.end() ? 0 : it->second;
}

// An array of maps or hash of maps must know its inner maps' shape.
void AddInner(ElfLoader* loader, int outer, std::optional<MapDef> inner) {
  if (!inner.has_value() && loader->options.guess_inner_maps) {
    inner.emplace();
    inner->name = absl::StrCat(loader->object->maps[outer].name, ".inner");
    inner->type = MapType::kArray;
    inner->key_size = 4;
    inner->value_size = 4;
    inner->max_entries = 1;
    inner->is_inner_template = true;
  }
  if (inner.has_value()) loader->object->maps[outer].inner = AddMap(loader, std::move(*inner), {});
}

void AddBtfMap(ElfLoader* loader, int section, const btf_var_secinfo& info) {
  const struct btf* btf = loader->object->btf.get();
  const btf_type* variable = btf__type_by_id(btf, info.type);
  MapDef map;
  std::optional<MapDef> inner;
  MapSource source{.section = section, .offset = info.offset};
  map.name = CopyName(BtfName(btf, variable->name_off));
  if (!btf_is_var(variable)) {
    source.error = "is not a variable";
  } else if (uint64_t{info.offset} + info.size > loader->elf.sections[section].size) {
    source.error = "BTF data is corrupted";
  } else if (btf_var(variable)->linkage != BTF_VAR_GLOBAL_ALLOCATED) {
    source.error = "unsupported map linkage";
  } else {
    const btf_type* structure = SkipModifiers(btf, variable->type, nullptr);
    if (!btf_is_struct(structure)) {
      source.error = "unexpected def kind";
    } else if (structure->size > info.size) {
      source.error = "invalid def size";
    } else {
      source.error = Definition(btf, /*is_inner=*/false).Read(structure, &map, &inner);
    }
  }
  if (!source.error.empty()) source.error = absl::StrCat("map '", map.name, "': ", source.error);
  const bool usable = source.error.empty(), map_in_map = IsMapInMap(map.type);
  const int index = AddMap(loader, std::move(map), std::move(source));
  loader->map_at.try_emplace({section, info.offset}, index);
  if (usable && map_in_map) AddInner(loader, index, std::move(inner));
}

absl::Status CollectBtfMaps(ElfLoader* loader) {
  const int section = loader->elf.SectionByName(kMapsSection);
  if (section < 0) return absl::OkStatus();
  const struct btf* btf = loader->object->btf.get();
  if (btf == nullptr) return absl::InvalidArgumentError("BTF is required for .maps, but is missing");
  const uint32_t id = FindDatasec(*loader, kMapsSection);
  if (id == 0) return absl::InvalidArgumentError("DATASEC '.maps' not found");
  const btf_type* datasec = btf__type_by_id(btf, id);
  for (int i = 0; i < btf_vlen(datasec); ++i) AddBtfMap(loader, section, btf_var_secinfos(datasec)[i]);
  return absl::OkStatus();
}

bool NameOrDotted(std::string_view name, std::string_view base) {
  return name.starts_with(base) && (name.size() == base.size() || name[base.size()] == '.');
}

// libbpf's name of a map of global data: up to eight characters of the object's, and the section's.
std::string DataMapName(const std::string& path, std::string_view section) {
  constexpr size_t kKernelName = 15;
  std::string name(section);
  if (section.find('.', 1) == std::string_view::npos) {  // "two dots": a section of the user's own
    std::string_view base = path;
    if (size_t slash = base.rfind('/'); slash != std::string_view::npos) base.remove_prefix(slash + 1);
    base = base.substr(0, base.find('.'));
    const size_t suffix = std::max<size_t>(7, section.size());
    base = base.substr(0, suffix >= kKernelName ? 0 : kKernelName - suffix);
    name = absl::StrCat(absl::string_view(base.data(), base.size()), name);
  }
  name.resize(std::min(name.size(), kKernelName));
  for (char& c : name) {
    const bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
    if (!ok) c = '_';
  }
  return name;
}

int AddDataMap(ElfLoader* loader, int section, std::string_view name, bool read_only, uint64_t size) {
  MapDef map;
  MapSource source{.section = section, .is_data = true};
  map.name = DataMapName(loader->object->path, name);
  map.type = MapType::kArray;
  map.key_size = 4;
  map.max_entries = 1;
  map.flags = read_only ? kMapRdonlyProg : 0;
  map.frozen = read_only;
  map.btf_value_type_id = FindDatasec(*loader, name);
  // Exported variables make it a map that user space may map into its memory.
  if (loader->exported_datasecs.contains(map.btf_value_type_id)) map.flags |= kMapMmapable;
  if (size > INT32_MAX) {
    source.error = absl::StrCat("map '", map.name, "': ", size, " bytes of global data");
  } else {
    map.value_size = static_cast<uint32_t>(size);
    if (section > 0 && loader->elf.sections[section].type != SHT_NOBITS) {
      std::string_view data = loader->elf.sections[section].data;
      map.data.assign(data.begin(), data.end());
    } else if (size <= kMaxZeroData) {
      map.data.resize(size);
    }
  }
  return AddMap(loader, std::move(map), std::move(source));
}

void CollectDataMaps(ElfLoader* loader) {
  for (size_t i = 1; i < loader->elf.sections.size(); ++i) {
    const ElfSection& section = loader->elf.sections[i];
    if (section.size == 0) continue;
    bool read_only = false;
    if (section.type == SHT_PROGBITS && !section.Executable() && NameOrDotted(section.name, ".rodata")) {
      read_only = true;
    } else if (section.type == SHT_PROGBITS && !section.Executable() && NameOrDotted(section.name, ".data")) {
    } else if (section.type == SHT_NOBITS && NameOrDotted(section.name, ".bss")) {
    } else {
      continue;
    }
    const int index = AddDataMap(loader, static_cast<int>(i), section.name, read_only, section.size);
    loader->data_map[static_cast<int>(i)] = index;
  }
}

// Global variables in the arena belong to the arena map, wherever it is defined.
void CollectArenaData(ElfLoader* loader) {
  const int section = loader->elf.SectionByName(kArenaSection);
  if (section < 0) return;
  for (size_t i = 0; i < loader->object->maps.size(); ++i) {
    if (loader->object->maps[i].type == MapType::kArena) {
      loader->data_map[section] = static_cast<int>(i);
      return;
    }
  }
}

void AddKconfigMap(ElfLoader* loader) {
  uint64_t size = 0;
  for (const ExternSymbol& symbol : loader->externs) {
    if (symbol.kconfig) size = std::max(size, uint64_t{symbol.kconfig_offset} + symbol.kconfig_size);
  }
  if (size == 0) return;
  loader->kconfig_map = AddDataMap(loader, -1, kKconfigSection, /*read_only=*/true, size);
  FillKconfig(loader, &loader->object->maps[loader->kconfig_map].data);
}

}  // namespace

int AddMap(ElfLoader* loader, MapDef map, MapSource source) {
  if (map.fields.empty() && map.btf_value_type_id != 0) {
    auto [it, is_new] = loader->fields_of_type.try_emplace(map.btf_value_type_id);
    if (is_new) it->second = FindMapFields(loader->object->btf.get(), map.btf_value_type_id);
    map.fields = it->second;
  }
  loader->object->maps.push_back(std::move(map));
  loader->sources.push_back(std::move(source));
  return static_cast<int>(loader->object->maps.size()) - 1;
}

absl::Status CollectMaps(ElfLoader* loader) {
  if (loader->object->btf != nullptr) CompleteDatasecs(loader);
  if (absl::Status status = CollectBtfMaps(loader); !status.ok()) return status;
  if (absl::Status status = CollectLegacyMaps(loader); !status.ok()) return status;
  CollectDataMaps(loader);
  AddKconfigMap(loader);
  CollectArenaData(loader);
  return absl::OkStatus();
}

}  // namespace bpfsieve
