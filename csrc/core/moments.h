// The five sums behind guidance rescaling, projection and norm caps: over one sample of (a, b), in
// double, in an order fixed by the element's index alone, so no batch or thread count changes a
// bit.
#pragma once

#include "core/math.h"

namespace fastdiff {

struct Moments {
  double a, b, aa, ab, bb;
};

constexpr int kMomentLanes = 16;  // element i adds to lane i % 16

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

/// Folds the lanes in halves: 8, 4, 2, 1.
FD_HD Moments fold(Moments (&lanes)[kMomentLanes]) {
  for (int width = kMomentLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) add(lanes[lane], lanes[lane + width]);
  }
  return lanes[0];
}

}  // namespace fastdiff
