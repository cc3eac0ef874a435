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
    if (args.out_dims != 1 || args.view[g].stride[0] != 1) return false;
  }
  StepArgs has = {};
  has.x = args.x, has.row = args.row, has.rows = args.rows, has.keys = args.keys;
  has.weights = args.weights, has.history = args.history;
  has.model_input = args.model_input, has.t = args.t;
  bool no_more = true;
#define FD_COMPARE(type, name, dtype, shape, need) no_more = no_more && args.name == has.name;
  FD_STEP_OPERANDS(FD_COMPARE)
#undef FD_COMPARE
  return no_more && args.n_outputs <= Common::kOutputs && args.slots <= Common::kSlots &&
         !args.has_gain && !args.has_x_in && args.next == args.state && args.torch_threads == 0;
}

/// Whether all that is of the state's dtype and shape can be reached in 16-byte accesses.
inline bool is_state_aligned(const StepArgs& args) {
  bool aligned = args.next != args.state || is_aligned(args.x_out, 16);
#define FD_ALIGNED(type, name, dtype, shape, need)                                        \
  if (ShapeRule::shape == ShapeRule::kLikeX || ShapeRule::shape == ShapeRule::kHistory) { \
    aligned = aligned && is_aligned(args.name, 16);                                       \
  }
  FD_STEP_OPERANDS(FD_ALIGNED)
#undef FD_ALIGNED
  return aligned;
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
  plan.wide_state = whole_runs && is_state_aligned(args);
  plan.wide_input = whole_runs && is_aligned(args.model_input, access_bytes(args.input, run));
  plan.wide_next = whole_runs && is_aligned(args.x_out, access_bytes(args.next, run));
  const auto wide = [&](int k, DType dtype) {
    const int64_t bytes = access_bytes(dtype, run);
    return whole_runs && is_aligned(args.view[k].data, bytes) &&
           args.view[k].sample_stride * size_of(dtype) % bytes == 0;
  };
  plan.wide_output = !args.has_gain || wide(kGain, args.output);
  for (int g = 0; g < args.n_outputs; ++g) {
    plan.wide_output = plan.wide_output && wide(g, args.output);
  }
  plan.wide_sample = args.has_x_in && wide(kXIn, args.sample);
  return plan;
}

}  // namespace fastdiff::cuda
