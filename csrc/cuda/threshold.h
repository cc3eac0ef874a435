// The dynamic threshold of a sample, by the threads of a block.
#pragma once

#include "core/quantile.h"
#include "cuda/select.h"
#include "cuda/step_thread.h"

namespace fastdiff::cuda {

/// One element at a time.
inline StepPlan one_by_one(StepPlan plan) {
  plan.wide_state = plan.wide_output = plan.wide_sample = false;
  return plan;
}

/// args.threshold of a sample whose row clips to a quantile. `plan` is one_by_one.
template <class T>
FD_HD void fill_threshold(const Team& team, const StepArgs& args, const StepPlan& plan,
                          const SharedRow<T>& at, int64_t sample, Selection<T>& scratch) {
  if (!at.live || !at.use.dynamic || !is_bound(args, at.row, at.use)) return;
  const auto magnitude = [&](int64_t i) {
    ThreadTile<T, 1, Everything, Memory> tile(args, plan, at.row, at.use, sample, at.index, i);
    return tile.magnitudes().v[0];
  };
  const Rank rank = rank_of(at.row.dynamic, args.numel);
  const T below = select_rank<T>(team, scratch, args.numel, rank.below, magnitude);
  const T above = rank.fraction > 0
                      ? select_rank<T>(team, scratch, args.numel, rank.below + 1, magnitude)
                      : below;
  if (team.thread == 0) {
    static_cast<T*>(args.threshold)[sample] =
        threshold_between(at.row, below, above, rank.fraction);
  }
}

}  // namespace fastdiff::cuda
