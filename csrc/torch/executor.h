// The bound executor: a sampling loop binds its buffers once and each step is one call with the
// model's output. What torch.ops costs per call (microseconds) is paid when binding.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "torch/pack.h"
#include "torch/stable_view.h"

namespace fastdiff {

using BoundTensors = StepOperands<std::optional<torch::stable::Tensor>>;

StepTensors views_of(const BoundTensors& tensors);

class Executor {
 public:
  /// tickets: [B] int32 zeros, scratch of a device; nothing on the CPU. torch_threads,
  /// torch_shared: see StepArgs.
  Executor(BoundTensors tensors, std::optional<torch::stable::Tensor> tickets,
           int64_t torch_threads, bool torch_shared);
  Executor(const Executor&) = delete;

  /// Executes the row that each sample stands on.
  ///
  /// Throws std::runtime_error, before anything is written, if another thread is in here, if a
  /// bound tensor has been given another shape or memory that is too small, or (on the host, where
  /// rows are read) if every sample is done.
  void step(const StepCall& call);

  /// Whether a bound tensor's memory has moved, or the shape of one that a loop looks at has
  /// changed, since it was bound.
  bool moved() const;

  /// State elements that a step goes through before it returns.
  int64_t host_elements() const { return args_.device < 0 ? args_.batch * args_.numel : 0; }

 private:
  /// A bound tensor as it was when its address was taken.
  struct Binding {
    const char* name;
    torch::stable::Tensor tensor;
    TensorView view;  // its sizes and strides are those below
    std::vector<int64_t> sizes, strides;
    int64_t storage_bytes;
    bool shown;  // its shape means something to the caller of a loop

    Binding(const char* name, const torch::stable::Tensor& tensor);
    bool holds() const;
  };

  void bind();
  void bind_again();

  BoundTensors tensors_;
  const std::optional<torch::stable::Tensor> tickets_;
  const int64_t torch_threads_;
  const bool torch_shared_;
  std::vector<Binding> bindings_;  // x comes first
  StepArgs args_ = {};
  int32_t* ticket_data_ = nullptr;
  std::atomic<bool> busy_{false};
};

/// An executor on its way from torch's dispatcher, which is where tensors come from, to Python: a
/// number that `take` turns into it, once.
int64_t leave(std::unique_ptr<Executor> executor);
std::unique_ptr<Executor> take(int64_t number);

}  // namespace fastdiff
