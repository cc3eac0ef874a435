// The row kernel: one launch for a step of a whole batch, plus one before it where a row clips to a
// quantile of its sample.
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/plan.h"
#include "cuda/threshold.h"

namespace fastdiff::cuda {
namespace {

/// Blocks of a multiprocessor that registers have to suffice for: as many as go without spills.
template <class Bound>
constexpr int kBlocks = Bound::kAll ? 3 : 6;
template <class Bound>
constexpr int kSmallBlocks = Bound::kAll ? 2 : 5;

template <class T, class Bound>
__global__ void __launch_bounds__(kStepThreads, kBlocks<Bound>)
    step_kernel(const __grid_constant__ StepArgs args, const __grid_constant__ StepPlan plan,
                int32_t* tickets) {
  __shared__ SharedRow<T> shared;
  const int64_t sample = blockIdx.x / plan.blocks_per_sample;
  load_row(this_block(), args, sample, shared);
  if (!shared.live) return;
  step_thread<T, Bound, Memory>(args, plan, shared, blockIdx.x, threadIdx.x);
  if (threadIdx.x == 0) finish_block(args, plan, shared.row, sample, tickets);
}

/// Several samples in a block.
template <class T, class Bound>
__global__ void __launch_bounds__(kStepThreads, kSmallBlocks<Bound>)
    small_step_kernel(const __grid_constant__ StepArgs args,
                      const __grid_constant__ StepPlan plan) {
  const Share<T> share = share_of<T>(args, plan, blockIdx.x, threadIdx.x);
  small_step_thread<T, Bound, Memory>(args, plan, share);
  __syncthreads();
  finish_share(args, share);
}

template <class T>
__global__ void advance_kernel(const __grid_constant__ StepArgs args) {
  advance_thread<T>(args, static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
}

template <class T>
__global__ void __launch_bounds__(256, 2)
    threshold_kernel(const __grid_constant__ StepArgs args, const __grid_constant__ StepPlan plan) {
  __shared__ SharedRow<T> shared;
  __shared__ Selection<T> scratch;
  load_row(this_block(), args, blockIdx.x, shared);
  fill_threshold(this_block(), args, plan, shared, blockIdx.x, scratch);
}

template <class T, class Bound>
void launch(const StepArgs& args, const StepPlan& plan, int32_t* tickets, cudaStream_t stream) {
  const unsigned blocks = static_cast<unsigned>(plan.blocks);
  if (plan.samples_per_block > 1) {
    small_step_kernel<T, Bound><<<blocks, plan.threads, 0, stream>>>(args, plan);
  } else {
    step_kernel<T, Bound><<<blocks, plan.threads, 0, stream>>>(args, plan, tickets);
  }
}

template <class T>
cudaError_t launch(const StepArgs& args, int32_t* tickets, cudaStream_t stream) {
  const StepPlan plan = plan_step(args);
  if (args.batch > kMostBlocks || plan.blocks > kMostBlocks) return cudaErrorInvalidConfiguration;
  const unsigned samples = static_cast<unsigned>(args.batch);
  if (args.numel == 0) {
    advance_kernel<T><<<(samples + 127) / 128, 128, 0, stream>>>(args);
    return cudaGetLastError();
  }
  if (args.threshold) threshold_kernel<T><<<samples, 256, 0, stream>>>(args, one_by_one(plan));
  plan.common ? launch<T, Common>(args, plan, tickets, stream)
              : launch<T, Everything>(args, plan, tickets, stream);
  return cudaGetLastError();
}

}  // namespace

int step(const StepArgs& args, int32_t* tickets, void* stream) {
  if (args.batch == 0) return 0;
  const DeviceGuard guard(args.device);
  if (guard.error() != cudaSuccess) return guard.error();
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  return args.state == DType::kFloat32 ? launch<float>(args, tickets, on)
                                       : launch<double>(args, tickets, on);
}

}  // namespace fastdiff::cuda
