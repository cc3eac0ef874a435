// Standard normals and moments, and facts about the device.
#include "core/moments.h"
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/draw_thread.h"

namespace fastdiff::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(128)
    normal_kernel(const __grid_constant__ NormalArgs args, int64_t blocks_per_event, bool wide) {
  normal_thread<T, Memory>(args, blocks_per_event, wide, blockIdx.x, threadIdx.x);
}

template <class T>
__global__ void __launch_bounds__(kMomentLanes)
    moment_kernel(const __grid_constant__ MomentArgs args, double* partial) {
  __shared__ Moments lanes[kMomentLanes];
  const int64_t chunks = chunks_of(args.numel);
  const int64_t sample = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const int lane = threadIdx.x;
  lanes[lane] = lane_moments(static_cast<const T*>(args.a) + sample * args.a_sample_stride,
                             static_cast<const T*>(args.b) + sample * args.b_sample_stride,
                             args.numel, chunk, lane);
  for (int width = kMomentLanes / 2; width > 0; width /= 2) {
    __syncthreads();
    if (lane < width) add(lanes[lane], lanes[lane + width]);
  }
  if (lane == 0) reinterpret_cast<Moments*>(partial)[blockIdx.x] = lanes[0];
}

__global__ void fold_chunks_kernel(const __grid_constant__ MomentArgs args, const double* partial) {
  const int64_t sample = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (sample >= args.batch) return;
  const int64_t chunks = chunks_of(args.numel);
  Moments total = {};
  for (int64_t k = 0; k < chunks; ++k) {
    add(total, reinterpret_cast<const Moments*>(partial)[sample * chunks + k]);
  }
  reinterpret_cast<Moments*>(args.out)[sample] = total;
}

template <class T>
cudaError_t launch(const NormalArgs& args, cudaStream_t stream) {
  const int64_t per_block = 128 * kRun<T>;
  const int64_t blocks_per_event = (args.numel + per_block - 1) / per_block;
  const bool wide = args.numel % kRun<T> == 0 && reinterpret_cast<uintptr_t>(args.out) % 16 == 0;
  const int64_t blocks = args.events * blocks_per_event;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
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
  const int64_t blocks = args.batch * chunks_of(args.numel);
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  if (blocks > 0) {
    with_dtype(args.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      moment_kernel<T><<<static_cast<unsigned>(blocks), kMomentLanes, 0, on>>>(args, partial);
    });
  }
  fold_chunks_kernel<<<static_cast<unsigned>((args.batch + 127) / 128), 128, 0, on>>>(args,
                                                                                      partial);
  return cudaGetLastError();
}

const char* message(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

const char* architectures() { return FD_CUDA_ARCHS; }

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
