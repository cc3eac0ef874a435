// Sums over one sample in double, in an order fixed by the element's index alone, so that no batch,
// thread count or processor changes a bit: element i of a chunk adds to lane i % kSumLanes, lanes
// are folded in halves; chunk p adds to lane p % kPartialLanes, which are folded in their turn.
#pragma once

#include "core/launch.h"
#include "core/macros.h"

namespace fastdiff {

constexpr int kSumLanes = 512;
constexpr int64_t kSumChunk = 4 * kSumLanes;
FD_HD int64_t sum_chunks_of(int64_t numel) { return (numel + kSumChunk - 1) / kSumChunk; }
constexpr int kPartialLanes = 32;

template <int kWidth, class T>
FD_HD void add_upper_half(T* lane) {
  for (int i = 0; i < kWidth; ++i) lane[i] += lane[i + kWidth];
}

/// Adds up `lanes` <= kSumLanes numbers, a power of two, in halves: the upper to the lower one. The
/// last eight in registers: through memory each half would wait for the one before.
template <class T>
FD_HD T fold(T* lane, int lanes) {
  switch (lanes) {                        // by constants, for whole vectors
    case 512: add_upper_half<256>(lane);  // fall through
    case 256: add_upper_half<128>(lane);  // fall through
    case 128: add_upper_half<64>(lane);   // fall through
    case 64: add_upper_half<32>(lane);    // fall through
    case 32: add_upper_half<16>(lane);    // fall through
    case 16: add_upper_half<8>(lane);     // fall through
    case 8:
      return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
             ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    case 4: return (lane[0] + lane[2]) + (lane[1] + lane[3]);
    case 2: return lane[0] + lane[1];
    default: return lane[0];
  }
}

/// The least power of two >= n: lanes beyond a short sample's last element are zero and left out.
FD_HD int lanes_for(int64_t n) {
  int lanes = 1;
  while (lanes < n) lanes *= 2;
  return lanes;
}

/// What adds to lane `lane` of the chunks' sums, `stride` apart.
FD_HD double partial_lane(const double* partial, int64_t chunks, int64_t stride, int lane) {
  double sum = 0;
  FD_SEVERAL
  for (int64_t p = lane; p < chunks; p += kPartialLanes) sum += partial[p * stride];
  return sum;
}

/// Sum `k` of `sums` over the chunks of a sample, from partial [chunks, sums].
FD_HOST double fold_partial(const double* partial, int64_t chunks, int sums, int k) {
  double lane[kPartialLanes];
  for (int i = 0; i < kPartialLanes; ++i) lane[i] = partial_lane(partial + k, chunks, sums, i);
  return fold(lane, kPartialLanes);
}

}  // namespace fastdiff
