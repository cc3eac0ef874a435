// The bound executor: a sampling loop binds its buffers once and each step is one call with the
// model's output. What torch.ops costs per call (microseconds) is paid when binding.
#pragma once

#include <memory>
#include <vector>

#include "torch/pack.h"

namespace fastdiff {

class Executor {
 public:
  /// Takes copies of the views' metadata; the caller keeps the tensors alive.
  explicit Executor(const StepTensors& tensors);
  Executor(Executor&&) = default;  // x_ points into sizes_: moves keep that, copies would not
  Executor(const Executor&) = delete;

  /// Executes the row that each sample stands on. `count` is 0 for a row that needs no model,
  /// `gain` undefined for one that does not scale its noise.
  void step(const TensorView* outputs, int64_t count, const TensorView& gain);

  int64_t elements() const { return args_.batch * args_.numel; }

 private:
  StepArgs args_;
  int32_t* tickets_ = nullptr;
  TensorView x_;
  std::vector<int64_t> sizes_;
};

}  // namespace fastdiff
