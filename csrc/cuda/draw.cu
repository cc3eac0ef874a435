// Standard normals and moments, and facts about the device.
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/draw_thread.h"
#include "cuda/moment_thread.h"
#include "cuda/results.h"

namespace fastdiff::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(128)
    normal_kernel(const __grid_constant__ NormalArgs args, int64_t blocks_per_event, bool wide) {
  normal_thread<T, Memory>(args, blocks_per_event, wide, blockIdx.x, threadIdx.x);
}

constexpr int kMomentWarps = 4;  // of a block, one for each chunk

template <class M>
__global__ void __launch_bounds__(kMomentWarps* kMomentThreads)
    moment_kernel(const __grid_constant__ MomentArgs args, bool wide, double* partial) {
  const int64_t chunks = chunks_of(args.numel);
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kMomentWarps + threadIdx.x / 32;
  if (unit >= args.batch * chunks) return;
  const int thread = threadIdx.x % 32;
  Moments lanes[kMomentRun] = {};
  moment_thread<M, Memory>(args, wide, unit / chunks, unit % chunks, thread, lanes);
  // In halves: thread t holds the lanes from kMomentRun t on.
  double* const sums = &lanes[0].a;
  FD_UNROLL
  for (int width = 16; width > 0; width /= 2) {
    FD_UNROLL
    for (int i = 0; i < kMomentRun * kMoments; ++i) {
      sums[i] += __shfl_down_sync(0xffffffffu, sums[i], width);
    }
  }
  if (thread == 0) reinterpret_cast<Moments*>(partial)[unit] = fold(lanes, kMomentRun);
}

template <class T>
cudaError_t launch(const NormalArgs& args, cudaStream_t stream) {
  const int64_t per_block = 128 * kRun<T>;
  const int64_t blocks_per_event = (args.numel + per_block - 1) / per_block;
  const bool wide = args.numel % kRun<T> == 0 && reinterpret_cast<uintptr_t>(args.out) % 16 == 0;
  const int64_t blocks = args.events * blocks_per_event;
  if (blocks > kMostBlocks) return cudaErrorInvalidConfiguration;
  normal_kernel<T><<<static_cast<unsigned>(blocks), 128, 0, stream>>>(args, blocks_per_event, wide);
  return cudaGetLastError();
}

}  // namespace

int normal(const NormalArgs& args, void* stream) {
  if (args.events == 0 || args.numel == 0) return 0;
  const DeviceGuard guard(args.device);
  if (guard.error() != cudaSuccess) return guard.error();
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  return args.dtype == DType::kFloat64 ? launch<double>(args, on) : launch<float>(args, on);
}

int moments(const MomentArgs& args, double* partial, void* stream) {
  if (args.batch == 0) return 0;
  const DeviceGuard guard(args.device);
  if (guard.error() != cudaSuccess) return guard.error();
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  const int64_t chunks = chunks_of(args.numel);
  const int64_t blocks = (args.batch * chunks + kMomentWarps - 1) / kMomentWarps;
  if (blocks > kMostBlocks || args.batch > kMostBlocks) return cudaErrorInvalidConfiguration;
  if (blocks > 0) {
    const bool wide = moments_wide(args);
    double* const sums = chunks == 1 ? args.out : partial;
    with_dtype_on_host(args.dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      moment_kernel<M><<<static_cast<unsigned>(blocks), kMomentWarps * kMomentThreads, 0, on>>>(
          args, wide, sums);
    });
  }
  if (chunks == 1) return cudaGetLastError();
  return add_chunks(partial, args.batch, chunks, kMoments, {args.out, DType::kFloat64}, on);
}

const char* message(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

const char* architectures() { return FD_CUDA_ARCHS; }

#define FD_TEXT_(x) #x
#define FD_TEXT(x) FD_TEXT_(x)
const char* compiler() {
  return FD_TEXT(__CUDACC_VER_MAJOR__) "." FD_TEXT(__CUDACC_VER_MINOR__) "." FD_TEXT(
      __CUDACC_VER_BUILD__);
}

int64_t torch_threads(int device, int64_t numel) {
  int processors = 0, threads = 0;
  if (cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device) !=
          cudaSuccess) {
    return 0;
  }
  const int64_t wave = static_cast<int64_t>(processors) * (threads / 256);
  const int64_t wanted = (numel + 255) / 256;
  return 256 * (wanted < wave ? wanted : wave);
}

}  // namespace fastdiff::cuda
