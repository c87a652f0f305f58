// Runs a judge over many objects: read, judge, hand over in order.
//
// Threads take objects in order; when none is left to begin, they help with the programs and the searches of those in
// progress (one oneTBB arena). The rows of an object are handed over in the order of the input files, whatever the
// schedule. As many objects as threads are in memory at once. Rows that wait for a big object before them may take 256 MiB;
// then no further object is begun.
//
// Turned down: tbb::parallel_pipeline, whose second thread was found idle all through a batch (oneTBB 2021.8); and so many
// objects ahead (64 for each thread), which a long program at the head of many small ones used up: 12 % of two threads'
// time. And the largest files first: by recorded times that is better for one set (1.86 for 1.74, on two threads) and worse for
// another (1.85 for 1.99), since a file's size says little of its time.
#ifndef BPFSIEVE_BATCH_PIPELINE_H_
#define BPFSIEVE_BATCH_PIPELINE_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "batch/inputs.h"
#include "batch/options.h"
#include "batch/rows.h"
#include "batch/typed_object.h"

namespace bpfsieve {

// Fills what is known without judging: names, types, size.
Row ProgramRow(const std::string& path, const ObjectFile& file, int index);

// Judges programs `wanted` (indices in object.progs, ascending) and returns a row for each, in order. Called from
// several threads at once, for different objects.
using Judge =
    std::function<std::vector<Row>(const std::string& path, const TypedObject& object, const std::vector<size_t>& wanted)>;

struct ObjectResult {
  std::vector<Row> rows;
  std::string error;     // the file cannot be read
  bool skipped = false;  // found in a folder, and no BPF object; or excluded by a filter
};

// `deliver` is called for one object after the other, in the order of `files`, from changing threads. `stop` is asked
// before an object is begun; once it says true no further object is.
void RunPipeline(const std::vector<InputFile>& files, const BatchOptions& options, const Judge& judge,
                 const std::function<bool()>& stop, const std::function<void(ObjectResult)>& deliver);

}  // namespace bpfsieve

#endif  // BPFSIEVE_BATCH_PIPELINE_H_
