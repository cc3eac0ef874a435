// The log-probability of one class under a row of logits, and its gradient. Class k belongs to lane
// k % kRowLanes; lanes are folded in halves, so that every backend adds in the same order.
#pragma once

#include <cmath>

#include "core/convert.h"
#include "core/math.h"

namespace fastdiff {

constexpr int kRowLanes = 32;

/// A row of logits: the largest, and the sum of e^(logit - most), which is at least one.
template <class T>
struct RowSum {
  T most, sum;

  FD_MEMBER T term(T logit) const { return exp_(logit - most); }
  FD_MEMBER T log_prob(T logit) const {
    return (logit - most) - (log_(sum) + (sum - sum));  // log_ knows no NaN
  }
  FD_MEMBER static T gradient(T g, T term, T inverse_sum, bool chosen) {
    return g * ((chosen ? T(1) : T(0)) - term * inverse_sum);
  }
  /// Of g log_prob(chosen logit) to a logit with this term.
  FD_MEMBER T gradient(T g, T term, bool chosen) const {
    return gradient(g, term, T(1) / sum, chosen);
  }
};

template <class T>
FD_HD T larger(T a, T b) {
  return a > b ? a : b;
}

/// What lane `lane` has of the row; NaN is left to the sum.
template <class T, class M>
FD_HD T lane_most(const M* row, int64_t classes, int lane) {
  T most = -static_cast<T>(INFINITY);
  for (int64_t k = lane; k < classes; k += kRowLanes)
    most = larger(static_cast<T>(to_float(row[k])), most);
  return most;
}
template <class T, class M>
FD_HD T lane_sum(const M* row, int64_t classes, int lane, T most) {
  T sum = 0;
  for (int64_t k = lane; k < classes; k += kRowLanes)
    sum += exp_(static_cast<T>(to_float(row[k])) - most);
  return sum;
}

}  // namespace fastdiff
