// The five sums behind guidance rescaling, projection and norm caps: over one sample of (a, b), in
// double, in an order fixed by the element's index alone, so no batch, thread count or processor
// changes a bit: in a chunk, lanes folded in halves; chunks as in core/sums.h.
#pragma once

#include "core/convert.h"
#include "core/math.h"
#include "core/sums.h"

namespace fastdiff {

struct Moments {
  double a, b, aa, ab, bb;

  FD_MEMBER Moments& operator+=(const Moments& other) {
    a += other.a, b += other.b;
    aa += other.aa, ab += other.ab, bb += other.bb;
    return *this;
  }
  FD_MEMBER Moments operator+(const Moments& other) const { return Moments(*this) += other; }
};
constexpr int kMoments = 5;
static_assert(sizeof(Moments) == kMoments * sizeof(double), "moments lie as five numbers");

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

}  // namespace fastdiff
