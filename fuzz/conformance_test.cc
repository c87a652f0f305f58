// The machine against the public tests of the instruction set (bpf_conformance), where a folder of them is at hand:
// BPFSIEVE_CONFORMANCE names it. Their assembly has a dialect of its own, which is read here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "engine/isa/insn.h"
#include "fuzz/machine.h"

namespace bpfsieve {
namespace {

struct ConformanceTest {
  std::string name;
  std::string error;  // why it cannot be read or does not apply
  std::vector<Insn> insns;
  std::vector<uint8_t> memory;
  uint64_t result = 0;
};

const std::map<std::string, int> kAlu = {{"add", kAdd}, {"sub", kSub}, {"mul", kMul}, {"div", kDiv}, {"or", kOr},
                                         {"and", kAnd}, {"lsh", kLsh}, {"rsh", kRsh}, {"mod", kMod}, {"xor", kXor},
                                         {"mov", kMov}, {"arsh", kArsh}, {"neg", kNeg}, {"sdiv", kDiv}, {"smod", kMod}};
const std::map<std::string, int> kJumps = {{"jeq", kJeq},   {"jgt", kJgt},   {"jge", kJge}, {"jset", kJset},
                                           {"jne", kJne},   {"jsgt", kJsgt}, {"jsge", kJsge}, {"jlt", kJlt},
                                           {"jle", kJle},   {"jslt", kJslt}, {"jsle", kJsle}};
const std::map<std::string, int> kSizes = {{"b", kSizeB}, {"h", kSizeH}, {"w", kSizeW}, {"dw", kSizeDw}};
const std::map<std::string, int> kAtomics = {{"add", kAdd}, {"or", kOr}, {"and", kAnd}, {"xor", kXor}, {"xchg", kXchg},
                                             {"cmpxchg", kCmpxchg}};

bool IsRegister(const std::string& word) { return word.rfind("%r", 0) == 0; }
int Register(const std::string& word) { return IsRegister(word) ? std::atoi(word.c_str() + 2) : -1; }
int64_t Number(const std::string& word) {
  if (word[0] == '-') return -static_cast<int64_t>(std::strtoull(word.c_str() + 1, nullptr, 0));
  return static_cast<int64_t>(std::strtoull(word.c_str(), nullptr, 0));
}

class Reader {
 public:
  explicit Reader(ConformanceTest& test) : test_(test) {}

  void Line(std::string line) {
    line = line.substr(0, line.find('#'));
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string word; in >> word;) words.push_back(word);
    if (words.empty()) return;
    if (words[0].back() == ':') {
      labels_[words[0].substr(0, words[0].size() - 1)] = test_.insns.size();
      return;
    }
    if (!Instruction(words)) test_.error = "not understood: " + line;
  }

  void Finish() {
    if (labels_.count("exit") == 0) {  // the last exit, by common consent
      for (size_t i = 0; i < test_.insns.size(); ++i) {
        if (test_.insns[i].code == kCodeExit) labels_["exit"] = i;
      }
    }
    for (const auto& [at, label] : jumps_) {
      if (labels_.count(label) == 0) {
        test_.error = "no such label: " + label;
        return;
      }
      const int distance = static_cast<int>(labels_[label]) - static_cast<int>(at) - 1;
      Insn& i = test_.insns[at];
      if (i.code == kCodeCall || i.code == (kClassJmp32 | kJa)) {
        i.imm = distance;
      } else {
        i.off = static_cast<int16_t>(distance);
      }
    }
  }

 private:
  void Emit(int code, int dst = 0, int src = 0, int off = 0, int64_t imm = 0) {
    test_.insns.push_back(MakeInsn(code, dst, src, off, imm));
  }
  void Target(const std::string& word) {
    if (word[0] == '+' || word[0] == '-') {
      test_.insns.back().off = static_cast<int16_t>(std::atoi(word.c_str()));
    } else {
      jumps_.emplace_back(test_.insns.size() - 1, word);
    }
  }
  // "[%r1+4]"
  static std::optional<std::pair<int, int>> Memory(const std::string& word) {
    if (word.size() < 4 || word[0] != '[' || word.back() != ']') return std::nullopt;
    const std::string inner = word.substr(1, word.size() - 2);
    const size_t sign = inner.find_first_of("+-");
    const int off = sign == std::string::npos ? 0 : static_cast<int>(Number(inner[sign] == '+' ? inner.substr(sign + 1)
                                                                                             : inner.substr(sign)));
    return std::make_pair(Register(inner.substr(0, sign)), off);
  }

  bool Instruction(const std::vector<std::string>& w) {
    std::string op = w[0];
    if (op == "exit") return Emit(kCodeExit), true;
    if (op == "lddw" && w.size() == 3) {
      const uint64_t v = static_cast<uint64_t>(Number(w[2]));
      Emit(kCodeLdImm64, Register(w[1]), 0, 0, static_cast<int64_t>(v & 0xffffffff));
      Emit(0, 0, 0, 0, static_cast<int64_t>(v >> 32));
      return true;
    }
    if (op == "call") {
      if (w.size() == 3 && w[1] == "local") return Emit(kCodeCall, 0, kPseudoCall), jumps_.emplace_back(test_.insns.size() - 1, w[2]), true;
      test_.error = "calls helpers or addresses of its own platform";
      return true;
    }
    if (op == "ja") return Emit(kClassJmp | kJa), Target(w[1]), true;
    if (op == "ja32") return Emit(kClassJmp32 | kJa), Target(w[1]), true;
    for (const auto& [name, kind] : {std::make_pair("le", 0), std::make_pair("be", 1), std::make_pair("swap", 2), std::make_pair("bswap", 2)}) {
      const std::string prefix = name;
      if (op.rfind(prefix, 0) != 0 || op.size() <= prefix.size() || std::isdigit(op[prefix.size()]) == 0) continue;
      Emit((kind == 2 ? kClassAlu64 : kClassAlu) | kEnd | (kind == 1 ? kSrcX : kSrcK), Register(w[1]), 0, 0, std::atoi(op.c_str() + prefix.size()));
      return true;
    }
    if (op.rfind("movsx", 0) == 0) {  // movsx<from><to>
      const bool wide = op.size() > 7 && op.substr(op.size() - 2) == "64";
      Emit((wide ? kClassAlu64 : kClassAlu) | kMov | kSrcX, Register(w[1]), Register(w[2]), std::atoi(op.substr(5, op.size() - 7).c_str()));
      return true;
    }
    if (op == "lock" && w.size() >= 4) {
      const bool fetch = w[1] == "fetch";
      std::string name = w[fetch ? 2 : 1];
      const bool low = name.size() > 2 && name.substr(name.size() - 2) == "32";
      if (low) name.resize(name.size() - 2);
      const auto memory = Memory(w[w.size() - 2]);
      if (kAtomics.count(name) == 0 || !memory) return false;
      Emit(kClassStx | kModeAtomic | (low ? kSizeW : kSizeDw), memory->first, Register(w.back()), memory->second,
           kAtomics.at(name) | (fetch ? kFetch : 0));
      return true;
    }
    if (op.rfind("ldxs", 0) == 0 || op.rfind("ldx", 0) == 0) {
      const bool extend = op.rfind("ldxs", 0) == 0;
      const auto memory = Memory(w[2]);
      const std::string size = op.substr(extend ? 4 : 3);
      if (!memory || kSizes.count(size) == 0) return false;
      Emit(kClassLdx | (extend ? kModeMemsx : kModeMem) | kSizes.at(size), Register(w[1]), memory->first, memory->second);
      return true;
    }
    if (op.rfind("stx", 0) == 0 || op.rfind("st", 0) == 0) {
      const bool x = op.rfind("stx", 0) == 0;
      const auto memory = Memory(w[1]);
      const std::string size = op.substr(x ? 3 : 2);
      if (!memory || kSizes.count(size) == 0) return false;
      Emit((x ? kClassStx : kClassSt) | kModeMem | kSizes.at(size), memory->first, x ? Register(w[2]) : 0, memory->second,
           x ? 0 : Number(w[2]));
      return true;
    }
    const bool low = op.size() > 2 && op.substr(op.size() - 2) == "32";
    if (low) op.resize(op.size() - 2);
    if (kJumps.count(op) != 0 && w.size() == 4) {
      const bool x = IsRegister(w[2]);
      Emit((low ? kClassJmp32 : kClassJmp) | kJumps.at(op) | (x ? kSrcX : kSrcK), Register(w[1]), x ? Register(w[2]) : 0, 0,
           x ? 0 : Number(w[2]));
      Target(w[3]);
      return true;
    }
    if (kAlu.count(op) == 0 || w.size() < 2) return false;
    const bool x = w.size() > 2 && IsRegister(w[2]);
    Emit((low ? kClassAlu : kClassAlu64) | kAlu.at(op) | (x ? kSrcX : kSrcK), Register(w[1]), x ? Register(w[2]) : 0,
         op[0] == 's' && (op == "sdiv" || op == "smod") ? 1 : 0, x || w.size() < 3 ? 0 : Number(w[2]));
    return true;
  }

  ConformanceTest& test_;
  std::map<std::string, size_t> labels_;
  std::vector<std::pair<size_t, std::string>> jumps_;
};

ConformanceTest ReadTest(const std::filesystem::path& path) {
  ConformanceTest test;
  test.name = path.stem();
  Reader reader(test);
  std::ifstream in(path);
  std::string section;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("-- ", 0) == 0) {
      section = line.substr(3);
    } else if (section == "asm") {
      reader.Line(line);
    } else if (section == "raw") {
      std::istringstream words(line.substr(0, line.find('#')));
      for (std::string word; words >> word;) {
        const uint64_t v = std::strtoull(word.c_str(), nullptr, 0);
        test.insns.push_back(MakeInsn(static_cast<int>(v & 0xff), static_cast<int>(v >> 8 & 15), static_cast<int>(v >> 12 & 15),
                                      static_cast<int16_t>(v >> 16), static_cast<int32_t>(v >> 32)));
      }
    } else if (section == "mem") {
      std::istringstream words(line);
      for (std::string word; words >> word;) test.memory.push_back(static_cast<uint8_t>(std::strtoul(word.c_str(), nullptr, 16)));
    } else if (section == "result" && !line.empty()) {
      test.result = static_cast<uint64_t>(Number(line));
    }
  }
  if (test.error.empty()) reader.Finish();
  return test;
}

TEST(Conformance, EveryTestThatApplies) {
  const char* folder = std::getenv("BPFSIEVE_CONFORMANCE");
  if (folder == nullptr || !std::filesystem::is_directory(folder)) {
    GTEST_SKIP() << "no conformance tests: BPFSIEVE_CONFORMANCE names no folder";
  }
  int passed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".data") continue;
    ConformanceTest test = ReadTest(entry.path());
    if (!test.error.empty()) {
      std::printf("not applicable: %s: %s\n", test.name.c_str(), test.error.c_str());
      EXPECT_EQ(test.error, "calls helpers or addresses of its own platform") << test.name;
      continue;
    }
    Object object;
    object.programs.emplace_back();
    object.programs[0].insns = test.insns;
    object.programs[0].subprogs.emplace_back();
    Machine machine;
    machine.Load(object, 0);
    const Outcome out = machine.RunOnMemory(test.memory, 1'000'000);
    EXPECT_EQ(out.kind, Outcome::Kind::kExit) << test.name << ": " << out.what << " at " << out.insn;
    EXPECT_EQ(out.r0, test.result) << test.name;
    passed += out.kind == Outcome::Kind::kExit && out.r0 == test.result;
  }
  std::printf("%d conformance tests passed\n", passed);
  EXPECT_GT(passed, 250);
}

}  // namespace
}  // namespace bpfsieve
