// The operations of training: one launch for a pass, plus one that adds up the chunks of samples
// that have several.
#include "core/categorical.h"
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/pass_thread.h"
#include "cuda/results.h"

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
      fold_lanes(this_block(), shared, kRun<T> * blockDim.x);
      if (thread == 0) {
        const double sum = prepared.factor * shared[0];
        store_sum(args, sample, blockIdx.x % plan.chunks, F::kSums, k, sum);
      }
      __syncthreads();
    }
  }
}

/// The rows [i, stop) of a sample, four warps apart, a lane of theirs for a lane of each.
template <class T, class M>
__device__ __forceinline__ void categorical_rows(const CategoricalArgs& args, int64_t sample,
                                                 int64_t i, int64_t stop, double* lanes) {
  const PassArgs& pass = args.pass;
  const int lane = threadIdx.x % kRowLanes;
  const T g = static_cast<T>(number_of(pass.number[0], sample));
  const M* const logits =
      static_cast<const M*>(pass.in[0].data) + sample * pass.in[0].sample_stride;
  for (; i < stop; i += 4) {
    const M* const row = logits + i * args.classes;
    const T most =
        fold_warp(lane_most<T>(row, args.classes, lane), [](T a, T b) { return larger(b, a); });
    const T sum =
        fold_warp(lane_sum<T>(row, args.classes, lane, most), [](T a, T b) { return a + b; });
    const int64_t level = args.level[sample * pass.numel + i];
    const bool inside = level >= 0 && level < args.classes;  // else NaN: a device cannot raise
    const RowSum<T> whole = {most, inside ? sum : static_cast<T>(NAN)};
    if (pass.result.data) {
      const T chosen = to_float(row[inside ? level : 0]);
      if (lane == 0) lanes[i % kSumLanes] += static_cast<double>(whole.log_prob(chosen));
      continue;
    }
    M* const out = static_cast<M*>(pass.out[0].data) + (sample * pass.numel + i) * args.classes;
    for (int64_t k = lane; k < args.classes; k += kRowLanes) {
      from_float(whole.gradient(g, whole.term(to_float(row[k])), k == level), out[k]);
    }
  }
}

/// Four warps for a chunk of a sample.
template <class T>
__global__ void __launch_bounds__(128, 8)
    categorical_kernel(const __grid_constant__ CategoricalArgs args) {
  __shared__ double lanes[kSumLanes];
  const PassArgs& pass = args.pass;
  const int64_t chunks = sum_chunks_of(pass.numel);
  const int64_t sample = blockIdx.x / chunks, begin = blockIdx.x % chunks * kSumChunk;
  const int64_t stop = begin + kSumChunk < pass.numel ? begin + kSumChunk : pass.numel;
  for (int i = threadIdx.x; i < kSumLanes; i += 128) lanes[i] = 0.0;
  __syncthreads();
  with_operand_dtype<T>(pass.in[0].dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    categorical_rows<T, M>(args, sample, begin + threadIdx.x / kRowLanes, stop, lanes);
  });
  if (!pass.result.data) return;
  fold_lanes(this_block(), lanes, kSumLanes);
  if (threadIdx.x == 0) store_sum(pass, sample, blockIdx.x % chunks, 1, 0, lanes[0]);
}

/// Adds up the chunks of samples that have not exactly one.
cudaError_t launch_results(const PassArgs& args, cudaStream_t stream) {
  const int64_t chunks = sum_chunks_of(args.numel);
  if (!args.result.data || chunks == 1) return cudaGetLastError();
  return add_chunks(args.partial, args.batch, chunks, args.sums, args.result, stream);
}

/// Blocks are numbered along x, one for each chunk of a sample; 0: there are too many.
unsigned blocks_of(const PassArgs& args) {
  const int64_t blocks = args.batch * sum_chunks_of(args.numel);
  return blocks > kMostBlocks ? 0 : static_cast<unsigned>(blocks);
}

template <class F, class T>
void launch(const PassArgs& args, unsigned blocks, cudaStream_t stream) {
  const PassPlan plan = plan_pass(args);
  pass_kernel<F, T><<<blocks, plan.threads, 0, stream>>>(args, plan);
}

/// Calls f(stream, blocks) if there are elements, then adds up.
template <class F>
int run(const PassArgs& args, void* stream, const F& f) {
  if (args.batch == 0) return 0;
  const DeviceGuard guard(args.device);
  if (guard.error() != cudaSuccess) return guard.error();
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (args.numel > 0) {
    const unsigned blocks = blocks_of(args);
    if (blocks == 0) return cudaErrorInvalidConfiguration;
    f(on, blocks);
  }
  return launch_results(args, on);
}

}  // namespace

int pass(const PassArgs& args, void* stream) {
  return run(args, stream, [&](cudaStream_t on, unsigned blocks) {
    with_formula(args.formula, [&](auto tag) {
      using F = typename decltype(tag)::type;
      args.compute == DType::kFloat64 ? launch<F, double>(args, blocks, on)
                                      : launch<F, float>(args, blocks, on);
    });
  });
}

int categorical(const CategoricalArgs& args, void* stream) {
  return run(args.pass, stream, [&](cudaStream_t on, unsigned blocks) {
    args.pass.compute == DType::kFloat64 ? categorical_kernel<double><<<blocks, 128, 0, on>>>(args)
                                         : categorical_kernel<float><<<blocks, 128, 0, on>>>(args);
  });
}

}  // namespace fastdiff::cuda
