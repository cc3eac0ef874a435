#include "torch/executor.h"

#include "torch/run.h"

namespace fastdiff {

Executor::Executor(const StepTensors& tensors)
    : args_(pack_step(tensors)),
      x_(tensors.x),
      sizes_(tensors.x.sizes, tensors.x.sizes + tensors.x.dim) {
  x_.sizes = sizes_.data();
  x_.strides = nullptr;     // known to be contiguous
  if (args_.device >= 0) {  // rows are not read back; the table was checked when it was made
    const TensorView& v = tensors.tickets;
    if (v.dtype != Scalar::kInt32 || v.dim != 1 || v.sizes[0] != args_.batch ||
        v.device_type != x_.device_type || v.device_index != x_.device_index) {
      reject("tickets", "int32 [" + std::to_string(args_.batch) + "] on the device of x",
             describe(v));
    }
    tickets_ = static_cast<int32_t*>(v.data);
    return;
  }
  for (int64_t r = 0; r < args_.n_rows; ++r) check_row(args_, r);
}

void Executor::step(const TensorView* outputs, int64_t count, const TensorView& gain) {
  if (args_.device < 0) check_rows(args_, count > 0, gain.defined());
  if (count > 0) bind_outputs(args_, x_, outputs, count, gain);
  run_step(args_, tickets_);
}

}  // namespace fastdiff
