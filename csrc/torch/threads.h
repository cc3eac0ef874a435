// Work over torch's threads.
#pragma once

#include "core/launch.h"
#include "torch/stable.h"

namespace fastdiff {

// Tiles below which a second thread is not woken: ten microseconds and more. On idle cores half of
// that would pay, but where others work, too, a thread that has to be waited for may come
// milliseconds later.
constexpr int64_t kGrainAffine = 128, kGrainNoise = 128, kGrainFormula = 48;

/// Samples of so many elements that make up a grain.
inline int64_t samples_of_grain(int64_t grain, int64_t numel) {
  return grain * kTile / (numel + 1) + 1;
}

/// f(first, last) over parts of the units, none of fewer than `grain` but the last.
template <class F>
void over_units(int64_t units, int64_t grain, const F& f) {
  if (units <= grain) return f(0, units);
  torch::stable::parallel_for(0, units, grain, f);
}

}  // namespace fastdiff
