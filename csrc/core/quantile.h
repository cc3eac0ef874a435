// The dynamic threshold of a sample ("Imagen", Saharia et al. 2022, section 2.3): a quantile of
// |m|, interpolated between the two elements around it as torch.quantile does.
#pragma once

#include "core/math.h"
#include "core/row.h"

namespace fastdiff {

/// Where the quantile q of n sorted numbers lies: between number `below` and the next one.
struct Rank {
  int64_t below;
  double fraction;
};

FD_HD Rank rank_of(double q, int64_t n) {
  const double place = (q < 1 ? q : 1) * static_cast<double>(n - 1);
  const int64_t below = static_cast<int64_t>(place);
  return {below, place - static_cast<double>(below)};
}

/// The bound of m from the two order statistics around the quantile.
template <class T>
FD_HD T threshold_between(const Row<T>& row, T below, T above, double fraction) {
  const double low = static_cast<double>(below), high = static_cast<double>(above);
  const T quantile = static_cast<T>(fma_(high - low, fraction, low));
  return quantile > row.clip_high ? row.clip_high : (quantile > 1 ? quantile : T(1));
}

}  // namespace fastdiff
