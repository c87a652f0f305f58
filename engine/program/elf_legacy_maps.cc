// Maps of the time before BTF: sections "maps" and "maps/NAME" hold arrays of structures that begin with
// {type, key size, value size, entries, flags} and go on as the object's own loader wanted:
//   28 bytes  the kernel samples' bpf_load: {.., index of the inner map, NUMA node}
//   28 bytes  early iproute2: {.., id, pinning}
//   36 bytes  iproute2: {.., id, pinning, id of the inner map, slot that the inner map is put in}
// libbpf 1.0 and later refuse such objects; their verdict is of interest all the same.
#include <elf.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "engine/program/elf_loader.h"

namespace bpfsieve {
namespace {

constexpr size_t kMinDefinition = 16;  // the flags came later
constexpr size_t kSampleDefinition = 28, kIprouteDefinition = 36;

struct Definition {
  const ElfSymbol* symbol = nullptr;
  uint32_t section = 0;
  std::string_view bytes;
  int map = -1;

  // The i-th 32-bit field, 0 where the structure ends before.
  uint32_t Field(size_t i) const { return bytes.size() >= 4 * i + 4 ? ReadAt<uint32_t>(bytes, 4 * i) : 0; }
};

bool IsMapInMap(uint32_t type) {
  return type == static_cast<uint32_t>(MapType::kArrayOfMaps) || type == static_cast<uint32_t>(MapType::kHashOfMaps);
}

// All definitions, by section and offset: the order in which their loaders number them.
std::vector<Definition> FindDefinitions(const ElfFile& elf) {
  std::vector<Definition> result;
  for (const ElfSymbol& symbol : elf.symbols) {
    if (!elf.ValidSection(symbol.shndx)) continue;
    const ElfSection& section = elf.sections[symbol.shndx];
    if (section.type != SHT_PROGBITS || section.Executable()) continue;
    if (section.name != "maps" && !section.name.starts_with("maps/")) continue;
    if (symbol.type != STT_OBJECT && symbol.type != STT_NOTYPE) continue;
    if (symbol.value >= section.data.size()) continue;
    result.push_back({.symbol = &symbol, .section = symbol.shndx, .bytes = section.data.substr(symbol.value)});
  }
  std::sort(result.begin(), result.end(), [](const Definition& a, const Definition& b) {
    return std::tuple(a.section, a.symbol->value, a.symbol) < std::tuple(b.section, b.symbol->value, b.symbol);
  });
  auto same_place = [](const Definition& a, const Definition& b) {
    return a.section == b.section && a.symbol->value == b.symbol->value;
  };
  result.erase(std::unique(result.begin(), result.end(), same_place), result.end());
  // A definition reaches to the next one; old compilers gave symbols no sizes.
  for (size_t i = 0; i < result.size(); ++i) {
    uint64_t size = result[i].bytes.size();
    if (i + 1 < result.size() && result[i + 1].section == result[i].section) {
      size = result[i + 1].symbol->value - result[i].symbol->value;
    }
    if (result[i].symbol->size != 0) size = std::min(size, result[i].symbol->size);
    result[i].bytes = result[i].bytes.substr(0, size);
  }
  return result;
}

// The inner map of a map-in-map; null: not told.
const Definition* InnerOf(const Definition& outer, const std::vector<Definition>& all) {
  auto usable = [&](const Definition& inner) { return &inner != &outer && !IsMapInMap(inner.Field(0)); };
  if (outer.bytes.size() >= kIprouteDefinition) {
    const uint32_t id = outer.Field(7);
    for (const Definition& inner : all) {
      if (id != 0 && inner.bytes.size() >= kIprouteDefinition && inner.Field(5) == id && usable(inner)) return &inner;
    }
  } else if (outer.bytes.size() >= kSampleDefinition) {
    const uint32_t index = outer.Field(5);
    if (index < all.size() && usable(all[index])) return &all[index];
  }
  return nullptr;
}

}  // namespace

absl::Status CollectLegacyMaps(ElfLoader* loader) {
  std::vector<Definition> all = FindDefinitions(loader->elf);
  loader->legacy_maps = !all.empty();
  for (Definition& definition : all) {
    MapDef map;
    MapSource source{.section = static_cast<int>(definition.section), .offset = definition.symbol->value};
    map.name = CopyName(definition.symbol->name);
    if (definition.bytes.size() < kMinDefinition) {
      source.error = absl::StrCat("map '", map.name, "': definition of ", definition.bytes.size(), " bytes");
    }
    map.type = static_cast<MapType>(definition.Field(0));
    map.key_size = definition.Field(1);
    map.value_size = definition.Field(2);
    map.max_entries = definition.Field(3);
    map.flags = definition.Field(4);
    definition.map = AddMap(loader, std::move(map), std::move(source));
    loader->map_at.try_emplace({static_cast<int>(definition.section), definition.symbol->value}, definition.map);
  }
  for (const Definition& definition : all) {
    if (!IsMapInMap(definition.Field(0))) continue;
    std::vector<MapDef>& maps = loader->object->maps;
    if (const Definition* inner = InnerOf(definition, all); inner != nullptr) {
      maps[definition.map].inner = inner->map;
    } else if (loader->options.guess_inner_maps) {
      MapDef guess{.name = absl::StrCat(maps[definition.map].name, ".inner"),
                   .type = MapType::kArray,
                   .key_size = 4,
                   .value_size = 4,
                   .max_entries = 1,
                   .is_inner_template = true};
      const int index = AddMap(loader, std::move(guess), {});
      loader->object->maps[definition.map].inner = index;
    }
  }
  return absl::OkStatus();
}

}  // namespace bpfsieve
