#include "batch/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace bpfsieve {
namespace {

namespace fs = std::filesystem;

class PipelineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/pipeline_test";
    fs::remove_all(root_);
    fs::create_directories(root_);
    for (int i = 0; i < kFiles; ++i) {
      files_.push_back({root_ + "/" + std::to_string(i) + ".bpfasm", true});
      std::ofstream(files_.back().path) << "r0 = 0\nexit\n";
    }
    options_.jobs = 2;
    options_.load.default_type = "xdp";
    options_.load.kernel_btf = "none";
  }
  void TearDown() override { fs::remove_all(root_); }

  // One row that names the file.
  static std::vector<Row> Named(const std::string& path) {
    Row row;
    row.file_name = path;
    row.verdict = "accept";
    return {row};
  }
  std::vector<std::string> Run(const Judge& judge, const std::function<bool()>& stop) {
    std::vector<std::string> delivered;
    RunPipeline(files_, options_, judge, stop, [&](ObjectResult result) {
      for (const Row& row : result.rows) delivered.push_back(row.file_name);
    });
    return delivered;
  }
  std::vector<std::string> Paths() const {
    std::vector<std::string> paths;
    for (const InputFile& file : files_) paths.push_back(file.path);
    return paths;
  }

  static constexpr int kFiles = 1000;
  std::string root_;
  std::vector<InputFile> files_;
  BatchOptions options_;
};

TEST_F(PipelineTest, ALongObjectHoldsUpNoneOfTheOthers) {
  std::atomic<int> judged = 0;
  bool all_others = false;
  const auto judge = [&](const std::string& path, const TypedObject&, const std::vector<size_t>&) {
    if (path == files_[0].path) {
      const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (judged < kFiles - 1 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
      all_others = judged == kFiles - 1;
    }
    ++judged;
    return Named(path);
  };
  EXPECT_EQ(Run(judge, [] { return false; }), Paths());
  EXPECT_TRUE(all_others);
}

TEST_F(PipelineTest, WhatWaitsIsBounded) {
  // Each result is 4 MiB, so that 64 of them may wait for the first one, and two more be in progress.
  std::atomic<int> judged = 0;
  int with_the_first = 0;
  const auto judge = [&](const std::string& path, const TypedObject&, const std::vector<size_t>&) {
    std::vector<Row> rows = Named(path);
    rows[0].log.assign(size_t{4} << 20, ' ');
    if (path == files_[0].path) {
      while (judged < 60) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));  // more than the others would take for all
      with_the_first = judged;
    }
    ++judged;
    return rows;
  };
  files_.resize(200);
  EXPECT_EQ(Run(judge, [] { return false; }), Paths());
  EXPECT_GE(with_the_first, 60);
  EXPECT_LE(with_the_first, 66);
}

TEST_F(PipelineTest, StopsBetweenObjectsAndHandsOverWhatIsDone) {
  std::atomic<int> judged = 0;
  const auto judge = [&](const std::string& path, const TypedObject&, const std::vector<size_t>&) {
    ++judged;
    return Named(path);
  };
  const std::vector<std::string> delivered = Run(judge, [&] { return judged >= 10; });
  EXPECT_GE(delivered.size(), 10u);
  EXPECT_LE(delivered.size(), 12u);
  const std::vector<std::string> paths = Paths();
  EXPECT_TRUE(std::equal(delivered.begin(), delivered.end(), paths.begin()));
}

}  // namespace
}  // namespace bpfsieve
