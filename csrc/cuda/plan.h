// How a launch is laid out: decided on the host from shapes and addresses alone.
#pragma once

#include "core/launch.h"
#include "cuda/step_thread.h"

namespace fastdiff::cuda {

inline bool is_aligned(const void* pointer, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

inline int64_t size_of(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

/// Bytes of one access to a run of `run` elements.
inline int64_t access_bytes(DType dtype, int64_t run) {
  return run * size_of(dtype) < 16 ? run * size_of(dtype) : 16;
}

/// Whether no more is bound than Common has.
inline bool is_common(const StepArgs& args) {
  for (int g = 0; g < args.n_outputs; ++g) {
    if (args.out_dims != 1 || args.out[g].stride[0] != 1) return false;
  }
  return args.n_outputs <= Common::kOutputs && args.slots <= Common::kSlots && !args.saved &&
         !args.known && !args.mask && !args.has_gain && !args.second_weights && !args.z &&
         !args.z_prev && !args.threshold && args.torch_threads == 0;
}

constexpr int kStepThreads = 128;  // of a block, at most
constexpr int kStepRuns = 4;       // of a thread, at most: a block has to wait for its row first
constexpr int64_t kManyBlocks = 4096;  // above which a thread is given more than one

inline StepPlan plan_step(const StepArgs& args, int64_t many_blocks = kManyBlocks) {
  const int64_t run = 16 / size_of(args.state);
  const int64_t runs = (args.numel + run - 1) / run;
  StepPlan plan = {};
  plan.common = is_common(args);
  plan.runs = 1;
  plan.samples_per_block = 1;
  const auto whole_warps = [](int64_t n) { return static_cast<int32_t>((n + 31) / 32 * 32); };
  if (runs > 0 && runs <= 32 && args.batch > 1) {
    const int64_t fit = kStepThreads / runs;
    plan.threads_per_sample = static_cast<int32_t>(runs);
    plan.samples_per_block = static_cast<int32_t>(fit < args.batch ? fit : args.batch);
    plan.threads = whole_warps(plan.samples_per_block * runs);
    plan.blocks = (args.batch + plan.samples_per_block - 1) / plan.samples_per_block;
  } else {
    plan.threads = runs >= kStepThreads ? kStepThreads : runs > 0 ? whole_warps(runs) : 32;
    const auto blocks = [&] {
      const int64_t runs_of_block = int64_t{plan.threads} * plan.runs;
      return (runs + runs_of_block - 1) / runs_of_block;
    };
    while (plan.runs < kStepRuns && args.batch * blocks() >= 2 * many_blocks) plan.runs *= 2;
    plan.blocks_per_sample = blocks();
    plan.blocks = args.batch * plan.blocks_per_sample;
  }
  const bool whole_runs = args.numel % run == 0;
  plan.wide_state = whole_runs;
  for (const void* p :
       {static_cast<const void*>(args.x), static_cast<const void*>(args.saved),
        static_cast<const void*>(args.history), args.z, args.z_prev, args.known, args.mask}) {
    plan.wide_state = plan.wide_state && is_aligned(p, 16);
  }
  plan.wide_input = whole_runs && is_aligned(args.model_input, access_bytes(args.input, run));
  const int64_t bytes = access_bytes(args.output, run);
  plan.wide_output = whole_runs;
  for (int g = 0; g <= kMaxOutputs; ++g) {
    const bool read = g < args.n_outputs || (g == kMaxOutputs && args.has_gain);
    if (read) {
      plan.wide_output = plan.wide_output && is_aligned(args.out[g].data, bytes) &&
                         args.out[g].sample_stride * size_of(args.output) % bytes == 0;
    }
  }
  return plan;
}

}  // namespace fastdiff::cuda
