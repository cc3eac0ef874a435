// The threads of a block at work together, written once for a device and for a host, which walks a
// block as a team of one thread.
#pragma once

#include "core/macros.h"

namespace fastdiff::cuda {

struct Team {
  int thread, threads;

  /// f(i) for every i < n, each by one of the threads.
  template <class F>
  FD_MEMBER void each(int64_t n, const F& f) const {
    for (int64_t i = thread; i < n; i += threads) f(i);
  }
  FD_MEMBER void sync() const {
#if defined(__CUDA_ARCH__)
    __syncthreads();
#endif
  }
  /// Adds n to a number that others add to at the same time; returns what it was.
  template <class N>
  FD_MEMBER static N add(N* number, N n) {
#if defined(__CUDA_ARCH__)
    return atomicAdd(number, n);
#else
    const N before = *number;
    *number += n;
    return before;
#endif
  }
};

/// Adds up `lanes` numbers in halves, a power of two; thread 0 may read lane[0] afterwards.
template <class T>
FD_HD void fold_lanes(const Team& team, T* lane, int lanes) {
  for (int width = lanes / 2; width > 0; width /= 2) {
    team.sync();
    team.each(width, [&](int64_t i) { lane[i] += lane[i + width]; });
  }
}

}  // namespace fastdiff::cuda
