// What one thread does to fill an event with normals: kRun consecutive elements of one stream.
#pragma once

#include "core/launch.h"
#include "core/normal.h"
#include "cuda/step_thread.h"

namespace fastdiff::cuda {

FD_HD void block_normals(const Words& w, float* to) {
  const NormalPair<float> p = normal_pair(w.w0, w.w1), q = normal_pair(w.w2, w.w3);
  to[0] = p.first, to[1] = p.second, to[2] = q.first, to[3] = q.second;
}
FD_HD void block_normals(const Words& w, double* to) {
  const NormalPair<double> p = normal_pair(w);
  to[0] = p.first, to[1] = p.second;
}

template <class T, class Memory>
FD_HD void normal_thread(const NormalArgs& args, int64_t blocks_per_event, bool wide, int64_t block,
                         int thread) {
  constexpr int kPerBlock = sizeof(T) == sizeof(double) ? 2 : 4;  // normals of a Philox block
  const int64_t event = block / blocks_per_event;
  const int64_t begin = (block % blocks_per_event * 128 + thread) * kRun<T>;
  if (begin >= args.numel) return;
  const uint64_t seed = static_cast<uint64_t>(args.keys[2 * event]);
  const uint64_t first =
      static_cast<uint64_t>(args.keys[2 * event + 1]) + static_cast<uint64_t>(begin / kPerBlock);
  Run<T, kRun<T>> run;
  FD_UNROLL
  for (int k = 0; k < kRun<T> / kPerBlock; ++k) {
    block_normals(philox_block(seed, first + static_cast<uint64_t>(k)), run.v + k * kPerBlock);
  }
  const int64_t left = args.numel - begin;
  const int n = left < kRun<T> ? static_cast<int>(left) : kRun<T>;
  Memory::template store<T, kRun<T>>(run, n, wide,
                                     static_cast<T*>(args.out) + event * args.numel + begin);
}

}  // namespace fastdiff::cuda
