#include "batch/pipeline.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "batch/read_file.h"
#include "engine/program/program.h"

namespace bpfsieve {
namespace {

// Analyses recurse along the program; the default of the platform may be small.
constexpr size_t kThreadStack = size_t{16} << 20;

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
  size_t next = 0;
  // The pipeline copies its items: indices in, then pointers.
  using Item = std::shared_ptr<ObjectResult>;
  const auto read = [&](tbb::flow_control& control) -> size_t {
    if (next == files.size() || stop()) control.stop();
    return next++;
  };
  const auto process = [&](size_t i) { return std::make_shared<ObjectResult>(Process(files[i], options, judge)); };
  arena.execute([&] {
    tbb::parallel_pipeline(size_t{2} * options.jobs,
                           tbb::make_filter<void, size_t>(tbb::filter_mode::serial_in_order, read) &
                               tbb::make_filter<size_t, Item>(tbb::filter_mode::parallel, process) &
                               tbb::make_filter<Item, void>(tbb::filter_mode::serial_in_order,
                                                            [&](const Item& item) { deliver(std::move(*item)); }));
  });
}

}  // namespace bpfsieve
