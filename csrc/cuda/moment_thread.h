// What one thread adds up of a chunk: four lanes next to each other, in accesses of up to 16 bytes.
#pragma once

#include "core/launch.h"
#include "core/moments.h"
#include "cuda/plan.h"

namespace fastdiff::cuda {

constexpr int kMomentRun = 4;                              // lanes of a thread
constexpr int kMomentThreads = kMomentLanes / kMomentRun;  // which a warp has all of

inline bool moments_wide(const MomentArgs& args) {
  const int64_t bytes = access_bytes(args.dtype, kMomentRun), size = size_of(args.dtype);
  return is_aligned(args.a, bytes) && is_aligned(args.b, bytes) &&
         args.a_sample_stride * size % bytes == 0 && args.b_sample_stride * size % bytes == 0;
}

/// Rows of lanes that a thread asks for before it adds any up.
template <class M>
constexpr int kMomentRows = sizeof(M) == sizeof(double) ? 2 : 4;

template <class M, class Memory>
FD_HD void moment_thread(const MomentArgs& args, bool wide, int64_t sample, int64_t chunk,
                         int thread, Moments (&lanes)[kMomentRun]) {
  constexpr int kRows = kMomentRows<M>;
  const M* const a = static_cast<const M*>(args.a) + sample * args.a_sample_stride;
  const M* const b = static_cast<const M*>(args.b) + sample * args.b_sample_stride;
  const int64_t begin = chunk * kMomentChunk + kMomentRun * thread;
  const int64_t end =
      (chunk + 1) * kMomentChunk < args.numel ? (chunk + 1) * kMomentChunk : args.numel;
  for (int64_t first = begin; first < end; first += kRows * kMomentLanes) {
    Run<M, kMomentRun> from_a[kRows], from_b[kRows];
    int n[kRows];
    FD_UNROLL
    for (int k = 0; k < kRows; ++k) {
      const int64_t at = first + k * kMomentLanes, left = end - at;
      n[k] = left < kMomentRun ? (left > 0 ? static_cast<int>(left) : 0) : kMomentRun;
      const bool whole = wide && n[k] == kMomentRun;
      Memory::template load<M, kMomentRun>(a + at, n[k], whole, from_a[k]);
      Memory::template load<M, kMomentRun>(b + at, n[k], whole, from_b[k]);
    }
    FD_UNROLL
    for (int k = 0; k < kRows; ++k) {
      FD_UNROLL
      for (int i = 0; i < kMomentRun; ++i) {
        if (i < n[k]) {
          accumulate(lanes[i], static_cast<double>(to_float(from_a[k].v[i])),
                     static_cast<double>(to_float(from_b[k].v[i])));
        }
      }
    }
  }
}

}  // namespace fastdiff::cuda
