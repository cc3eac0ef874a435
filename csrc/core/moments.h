// The five sums behind guidance rescaling, projection and norm caps: over one sample of (a, b), in
// double, in an order fixed by the element's index alone, so no batch, thread count or processor
// changes a bit: chunks of a sample one after the other; in a chunk, lanes folded in halves.
#pragma once

#include "core/convert.h"
#include "core/math.h"

namespace fastdiff {

struct Moments {
  double a, b, aa, ab, bb;
};

constexpr int kMomentLanes = 128;  // element i adds to lane i % 128
constexpr int64_t kMomentChunk = 32 * kMomentLanes;
FD_HD int64_t chunks_of(int64_t numel) { return (numel + kMomentChunk - 1) / kMomentChunk; }

FD_HD void accumulate(Moments& sum, double a, double b) {
  sum.a += a;
  sum.b += b;
  sum.aa = fma_(a, a, sum.aa);
  sum.ab = fma_(a, b, sum.ab);
  sum.bb = fma_(b, b, sum.bb);
}

FD_HD void add(Moments& sum, const Moments& other) {
  sum.a += other.a;
  sum.b += other.b;
  sum.aa += other.aa;
  sum.ab += other.ab;
  sum.bb += other.bb;
}

/// The sums of lane `lane` over chunk `chunk` of a sample.
template <class T>
FD_HD Moments lane_moments(const T* a, const T* b, int64_t numel, int64_t chunk, int lane) {
  Moments sum = {};
  const int64_t stop = (chunk + 1) * kMomentChunk < numel ? (chunk + 1) * kMomentChunk : numel;
  for (int64_t i = chunk * kMomentChunk + lane; i < stop; i += kMomentLanes) {
    accumulate(sum, static_cast<double>(to_float(a[i])), static_cast<double>(to_float(b[i])));
  }
  return sum;
}

/// Folds the lanes in halves: 64, 32, ... 1.
FD_HD Moments fold(Moments (&lanes)[kMomentLanes]) {
  for (int width = kMomentLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) add(lanes[lane], lanes[lane + width]);
  }
  return lanes[0];
}

}  // namespace fastdiff
