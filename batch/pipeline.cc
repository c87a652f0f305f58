#include "batch/pipeline.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/statusor.h"
#include "batch/read_file.h"
#include "engine/program/program.h"

namespace bpfsieve {
namespace {

// Analyses recurse along the program; the default of the platform may be small.
constexpr size_t kThreadStack = size_t{16} << 20;

// Bytes of rows that wait for those before them. Without logs that is tens of thousands of programs.
constexpr size_t kMostWaiting = size_t{256} << 20;

size_t BytesOf(const ObjectResult& result) {
  size_t bytes = sizeof(result) + result.error.size();
  for (const Row& row : result.rows) {
    bytes += sizeof(row) + row.file_name.size() + row.prog_name.size() + row.message.size() + row.log.size() +
             row.explanation.size() + row.explanation_json.size();
  }
  return bytes;
}

ObjectResult Process(const InputFile& file, const BatchOptions& options, const Judge& judge) {
  ObjectResult result;
  if (!options.filters.MayPassFile(file.path)) {
    result.skipped = true;
    return result;
  }
  absl::StatusOr<std::string> bytes = ReadFile(file.path);
  if (!bytes.ok()) {
    result.error = std::string(bytes.status().message());
    return result;
  }
  if (file.found && IsForeignElf(*bytes)) {
    result.skipped = true;
    return result;
  }
  absl::StatusOr<TypedObject> object = LoadTyped(*bytes, file.path, options.load, options.types);
  if (!object.ok()) {
    Row row;
    row.file_name = file.path;
    row.verdict = "invalid";
    row.rule = "invalid";
    row.message = std::string(object.status().message());
    if (options.filters.PassesProgram(file.path, "")) result.rows.push_back(std::move(row));
    return result;
  }
  std::vector<size_t> wanted;
  for (size_t i = 0; i < object->progs.size(); ++i) {
    if (options.filters.PassesProgram(file.path, object->file(i).program_name(object->progs[i].index))) {
      wanted.push_back(i);
    }
  }
  if (wanted.empty()) return result;
  result.rows = judge(file.path, *object, wanted);
  return result;
}

}  // namespace

Row ProgramRow(const std::string& path, const ObjectFile& file, int index) {
  Row row;
  row.file_name = path;
  row.prog_name = std::string(file.program_name(index));
  row.prog_type = std::string(file.program_type(index));
  row.attach_type = std::string(file.attach_type(index));
  row.section = std::string(file.section(index));
  row.prog_size = static_cast<int64_t>(file.object().programs[index].insns.size());
  return row;
}

void RunPipeline(const std::vector<InputFile>& files, const BatchOptions& options, const Judge& judge,
                 const std::function<bool()>& stop, const std::function<void(ObjectResult)>& deliver) {
  namespace tbb = oneapi::tbb;
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, options.jobs);
  const tbb::global_control stack(tbb::global_control::thread_stack_size, kThreadStack);
  tbb::task_arena arena(static_cast<int>(options.jobs));
  std::mutex mutex;
  std::condition_variable delivered;
  size_t next = 0, first = 0;                              // to begin; to deliver
  std::deque<std::unique_ptr<ObjectResult>> results;       // from `first` on, null: not there yet
  size_t waiting = 0;                                      // bytes of these
  const auto work = [&] {
    for (;;) {
      size_t i;
      {
        std::unique_lock<std::mutex> lock(mutex);
        // Whoever has the first one does not wait, so somebody always gets on.
        delivered.wait(lock, [&] { return next == files.size() || waiting < kMostWaiting; });
        if (next == files.size() || stop()) return;
        i = next++;
        results.emplace_back();
      }
      auto result = std::make_unique<ObjectResult>();
      // Waiting for its own programs, the thread must not begin another object.
      tbb::this_task_arena::isolate([&] { *result = Process(files[i], options, judge); });
      const size_t bytes = BytesOf(*result);
      const std::lock_guard<std::mutex> lock(mutex);
      results[i - first] = std::move(result);
      waiting += bytes;
      for (; !results.empty() && results.front() != nullptr; ++first) {
        waiting -= BytesOf(*results.front());
        deliver(std::move(*results.front()));
        results.pop_front();
      }
      delivered.notify_all();
    }
  };
  arena.execute([&] {
    tbb::task_group group;
    for (unsigned j = 0; j < options.jobs && j < files.size(); ++j) group.run(work);
    group.wait();
  });
}

}  // namespace bpfsieve
