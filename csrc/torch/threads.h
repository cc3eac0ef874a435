// Work over torch's threads.
#pragma once

#include "torch/stable.h"

namespace fastdiff {

// Tiles below which waking a second thread costs more than it saves (measured on two cores).
constexpr int64_t kGrainAffine = 128, kGrainNoise = 48, kGrainFormula = 24;

/// f(first, last) over parts of the units, none of fewer than `grain` but the last.
template <class F>
void over_units(int64_t units, int64_t grain, const F& f) {
  if (units <= grain) return f(0, units);
  torch::stable::parallel_for(0, units, grain, f);
}

}  // namespace fastdiff
