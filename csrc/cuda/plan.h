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

inline StepPlan plan_step(const StepArgs& args) {
  const int64_t run = 16 / size_of(args.state);
  const int64_t runs = (args.numel + run - 1) / run;
  StepPlan plan = {};
  // Small samples take small blocks, so that no warp is idle.
  plan.threads = static_cast<int32_t>(runs >= 128 ? 128 : runs < 32 ? 32 : (runs + 31) / 32 * 32);
  plan.blocks_per_sample = (runs + plan.threads - 1) / plan.threads;
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
