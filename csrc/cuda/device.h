// What only nvcc understands: the threads of this block, the current device for a call.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/team.h"

namespace fastdiff::cuda {

constexpr int64_t kMostBlocks = 0x7fffffff;  // of a launch, along x

__device__ __forceinline__ Team this_block() {
  return {static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x)};
}

/// The fold of a warp in halves, for all of its lanes.
template <class T, class Fold>
__device__ __forceinline__ T fold_warp(T value, const Fold& fold) {
  for (int width = 16; width > 0; width /= 2) {
    value = fold(value, __shfl_down_sync(0xffffffffu, value, width));
  }
  return __shfl_sync(0xffffffffu, value, 0);
}

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && before_ != device) error_ = cudaSetDevice(device);
    changed_ = error_ == cudaSuccess && before_ != device;
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  cudaError_t error() const { return error_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  cudaError_t error_;
};

}  // namespace fastdiff::cuda
