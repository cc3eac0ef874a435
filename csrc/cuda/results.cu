#include "core/pass.h"
#include "cuda/device.h"
#include "cuda/results.h"

namespace fastdiff::cuda {
namespace {

static_assert(kPartialLanes == 32, "a lane is a thread of a warp");

/// A block for a sample, a warp for each of its sums.
__global__ void __launch_bounds__(160)
    results_kernel(const double* partial, int64_t chunks, const __grid_constant__ Output result) {
  const int64_t sample = blockIdx.x;
  const int sums = blockDim.x / kPartialLanes, k = threadIdx.x / kPartialLanes;
  const double lane =
      partial_lane(partial + sample * chunks * sums + k, chunks, sums, threadIdx.x % kPartialLanes);
  const double sum = fold_warp(lane, [](double a, double b) { return a + b; });
  if (threadIdx.x % kPartialLanes == 0) store_number(result, sample * sums + k, sum);
}

}  // namespace

cudaError_t add_chunks(const double* partial, int64_t batch, int64_t chunks, int sums,
                       const Output& result, cudaStream_t stream) {
  if (batch > kMostBlocks) return cudaErrorInvalidConfiguration;
  results_kernel<<<static_cast<unsigned>(batch), kPartialLanes * sums, 0, stream>>>(partial, chunks,
                                                                                    result);
  return cudaGetLastError();
}

}  // namespace fastdiff::cuda
