// The row kernel: one launch for a step of a whole batch, plus one before it where a row clips to a
// quantile of its sample.
#include "core/quantile.h"
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/plan.h"

namespace fastdiff::cuda {
namespace {

/// The row of a sample in shared memory, for all threads of its block; false: nothing to do.
template <class T>
struct SharedRow {
  Row<T> row;
  Use use;
  int64_t index;
  bool live;
};

template <class T>
__device__ void load_row(const StepArgs& args, int64_t sample, SharedRow<T>& shared) {
  const int64_t index = args.row[sample];
  const bool inside = index >= 0 && index < args.n_rows;
  if (inside) {
    const T* from = static_cast<const T*>(args.rows) + index * kRowWidth;
    T* to = reinterpret_cast<T*>(&shared.row);
    for (int i = threadIdx.x; i < kRowWidth; i += blockDim.x) to[i] = from[i];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.live = inside && shared.row.live != 0;
    shared.index = index;
    if (shared.live) shared.use = use_of(shared.row);
  }
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(128, 3)
    step_kernel(const __grid_constant__ StepArgs args, const __grid_constant__ StepPlan plan,
                int32_t* tickets) {
  __shared__ SharedRow<T> shared;
  const int64_t block = blockIdx.x;
  const int64_t sample = block / plan.blocks_per_sample;
  load_row(args, sample, shared);
  if (!shared.live) return;
  step_thread<T, Memory>(args, plan, shared.row, shared.use, shared.index, block, threadIdx.x);
  if (threadIdx.x != 0) return;
  // Every block has read args.row before it takes its ticket, so the last one may advance it.
  bool last = plan.blocks_per_sample == 1;
  if (!last) {
    const int32_t of_sample = static_cast<int32_t>(plan.blocks_per_sample);
    last = atomicAdd(tickets + sample, 1) == of_sample - 1;
    if (last) tickets[sample] = 0;
  }
  if (last) advance_sample(args, shared.row, sample);
}

/// Samples without elements still advance.
template <class T>
__global__ void advance_kernel(const __grid_constant__ StepArgs args) {
  const int64_t sample = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (sample >= args.batch || args.row[sample] < 0 || args.row[sample] >= args.n_rows) return;
  const Row<T>& row = static_cast<const Row<T>*>(args.rows)[args.row[sample]];
  if (row.live != 0) advance_sample(args, row, sample);
}

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

/// The number of rank `rank` (from 0) among the magnitudes of a sample: radix selection from the
/// highest byte on. Non-negative numbers are ordered as their bits are, NaN above all.
template <class T, class Magnitude>
__device__ T select_rank(int64_t numel, int64_t rank, const Magnitude& magnitude) {
  __shared__ unsigned long long count[256];
  __shared__ Bits<T> prefix;
  __shared__ int64_t left;
  if (threadIdx.x == 0) prefix = 0, left = rank;
  for (int shift = 8 * sizeof(T) - 8; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += blockDim.x) count[i] = 0;
    __syncthreads();
    const Bits<T> above = shift + 8 == 8 * sizeof(T) ? 0 : ~Bits<T>(0) << (shift + 8);
    for (int64_t i = threadIdx.x; i < numel; i += blockDim.x) {
      const Bits<T> bits = bit_cast<Bits<T>>(magnitude(i));
      if ((bits & above) == prefix) atomicAdd(&count[(bits >> shift) & 255], 1ull);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int byte = 0;
      while (left >= static_cast<int64_t>(count[byte])) left -= count[byte++];
      prefix |= static_cast<Bits<T>>(byte) << shift;
    }
    __syncthreads();
  }
  const T value = bit_cast<T>(prefix);
  __syncthreads();
  return value;
}

template <class T>
__global__ void __launch_bounds__(256, 2)
    threshold_kernel(const __grid_constant__ StepArgs args, const __grid_constant__ StepPlan plan) {
  __shared__ SharedRow<T> shared;
  const int64_t sample = blockIdx.x;
  load_row(args, sample, shared);
  if (!shared.live || !shared.use.dynamic || !is_bound(args, shared.row, shared.use)) return;
  const auto magnitude = [&](int64_t i) {
    ThreadTile<T, 1, Memory> tile(args, plan, shared.row, shared.use, sample, shared.index, i);
    return tile.magnitudes().v[0];
  };
  const Rank rank = rank_of(shared.row.dynamic, args.numel);
  const T below = select_rank<T>(args.numel, rank.below, magnitude);
  const T above = rank.fraction > 0 ? select_rank<T>(args.numel, rank.below + 1, magnitude) : below;
  if (threadIdx.x == 0) {
    static_cast<T*>(args.threshold)[sample] =
        threshold_between(shared.row, below, above, rank.fraction);
  }
}

template <class T>
cudaError_t launch(const StepArgs& args, int32_t* tickets, cudaStream_t stream) {
  const StepPlan plan = plan_step(args);
  if (args.numel == 0) {
    advance_kernel<T><<<(args.batch + 127) / 128, 128, 0, stream>>>(args);
    return cudaGetLastError();
  }
  if (args.threshold) {
    StepPlan narrow = plan;  // one element at a time
    narrow.wide_state = narrow.wide_output = false;
    threshold_kernel<T><<<args.batch, 256, 0, stream>>>(args, narrow);
  }
  const int64_t blocks = args.batch * plan.blocks_per_sample;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  step_kernel<T><<<static_cast<unsigned>(blocks), plan.threads, 0, stream>>>(args, plan, tickets);
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
