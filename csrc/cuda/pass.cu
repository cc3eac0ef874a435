// The operations of training: one launch for a pass, plus one that adds up the chunks of samples
// that have several.
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/pass_thread.h"

namespace fastdiff::cuda {
namespace {

/// With room for 512 threads on a multiprocessor no formula spills.
template <class F, class T>
__global__ void __launch_bounds__(kPassThreads<T>, 512 / kPassThreads<T>)
    pass_kernel(const __grid_constant__ PassArgs args, const __grid_constant__ PassPlan plan) {
  __shared__ Prepared<T> prepared;
  const int64_t sample = blockIdx.x / plan.chunks;
  const int thread = threadIdx.x;
  if (thread == 0) prepared = prepare<F, T>(args, sample);
  __syncthreads();
  Lanes<F, T> lanes = {};
  pass_thread<F, T, Memory>(args, plan, prepared, blockIdx.x, thread, lanes);
  if constexpr (F::kSums > 0) {
    __shared__ double shared[kSumLanes];
    for (int k = 0; k < F::kSums; ++k) {
      for (int i = 0; i < kRun<T>; ++i) shared[kRun<T> * thread + i] = lanes[k][i];
      for (int width = blockDim.x / 2; width > 0; width /= 2) {
        __syncthreads();
        if (thread >= width) continue;
        for (int i = 0; i < kRun<T>; ++i) {
          shared[kRun<T> * thread + i] += shared[kRun<T> * (thread + width) + i];
        }
      }
      if (thread == 0) {
        const double sum = prepared.factor * fold(shared, kRun<T>);
        store_sum(args, sample, blockIdx.x % plan.chunks, F::kSums, k, sum);
      }
      __syncthreads();
    }
  }
}

__global__ void __launch_bounds__(kPartialLanes)
    results_kernel(const __grid_constant__ PassArgs args, const double* partial, int sums) {
  __shared__ double lane[kPartialLanes];
  const int64_t sample = blockIdx.x, chunks = sum_chunks_of(args.numel);
  for (int k = 0; k < sums; ++k) {
    const double* const from = partial + sample * chunks * sums + k;
    lane[threadIdx.x] = partial_lane(from, chunks, sums, threadIdx.x);
    __syncwarp();
    if (threadIdx.x == 0) store_sum(args, sample, 0, sums, k, fold(lane, kPartialLanes));
    __syncwarp();
  }
}

template <class F, class T>
cudaError_t launch(const PassArgs& args, cudaStream_t stream) {
  const PassPlan plan = plan_pass(args);
  const int64_t blocks = args.batch * plan.chunks;
  if (blocks > 0x7fffffff || args.batch > 0x7fffffff) return cudaErrorInvalidConfiguration;
  if (blocks > 0) {
    pass_kernel<F, T><<<static_cast<unsigned>(blocks), plan.threads, 0, stream>>>(args, plan);
  }
  if (F::kSums > 0 && plan.chunks != 1) {
    PassArgs whole = args;
    whole.partial = nullptr;
    results_kernel<<<static_cast<unsigned>(args.batch), kPartialLanes, 0, stream>>>(
        whole, args.partial, F::kSums);
  }
  return cudaGetLastError();
}

}  // namespace

int pass(const PassArgs& args, void* stream) {
  const DeviceGuard guard(args.device);
  if (guard.error() != cudaSuccess) return guard.error();
  cudaError_t error = cudaSuccess;
  with_formula(args.formula, [&](auto tag) {
    using F = typename decltype(tag)::type;
    const cudaStream_t on = static_cast<cudaStream_t>(stream);
    error =
        args.compute == DType::kFloat64 ? launch<F, double>(args, on) : launch<F, float>(args, on);
  });
  return error;
}

}  // namespace fastdiff::cuda
