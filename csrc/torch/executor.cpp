#include "torch/executor.h"

#include "torch/run.h"

namespace fastdiff {

Executor::Executor(const StepTensors& tensors)
    : args_(pack_step(tensors)),
      x_(tensors.x),
      sizes_(tensors.x.sizes, tensors.x.sizes + tensors.x.dim) {
  x_.sizes = sizes_.data();
  x_.strides = nullptr;  // known to be contiguous
  check_counters(args_);
  for (int64_t r = 0; r < args_.n_rows; ++r) check_row(args_, r);
}

void Executor::step(const TensorView* outputs, int64_t count) {
  check_counters(args_);
  if (count > 0) {
    bind_outputs(args_, x_, outputs, count);
  } else {
    for (int64_t b = 0; b < args_.batch; ++b) {
      if (needs_output(args_, args_.row[b])) {
        reject("out", "the model's output (row " + std::to_string(args_.row[b]) + " reads it)",
               "None");
      }
    }
  }
  run_step(args_);
}

}  // namespace fastdiff
