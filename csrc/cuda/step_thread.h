// What one thread does for a row: runs of consecutive elements of one sample. A function of the
// arguments, the block and the thread alone, so that a host can walk a whole grid with it.
#pragma once

#include "cuda/step_tile.h"
#include "cuda/team.h"

namespace fastdiff::cuda {

/// The row `index` of the table; null outside of it.
template <class T>
FD_HD const Row<T>* row_at(const StepArgs& args, int64_t index) {
  if (index < 0 || index >= args.n_rows) return nullptr;
  return static_cast<const Row<T>*>(args.rows) + index;
}

/// The row of a sample where all threads of a block find it, decided once for them.
template <class T>
struct SharedRow {
  Row<T> row;
  Use use;
  int64_t index;
  bool live;
};

template <class T>
FD_HD void load_row(const Team& team, const StepArgs& args, int64_t sample, SharedRow<T>& shared) {
  const int64_t index = args.row[sample];
  const Row<T>* const row = row_at<T>(args, index);
  if (row) {
    const T* const from = reinterpret_cast<const T*>(row);
    T* const to = reinterpret_cast<T*>(&shared.row);
    team.each(kRowWidth, [&](int64_t i) { to[i] = from[i]; });
  }
  team.sync();
  if (team.thread == 0) {
    shared.live = row && shared.row.live != 0;
    shared.index = index;
    if (shared.live) shared.use = use_of(args, shared.row);
  }
  team.sync();
}

/// A row on one run of elements.
template <class T, class Bound, class Memory>
FD_HD void step_run(const StepArgs& args, const StepPlan& plan, const Row<T>& row, const Use& all,
                    int64_t index, int64_t sample, int64_t begin) {
  const Use use = Bound::used(all);
  ThreadTile<T, kRun<T>, Bound, Memory> tile(args, plan, row, use, sample, index, begin);
  if (!is_bound(args, row, all)) return tile.fill_nan();
  tile.load();
  apply_row(row, use, tile);
}

/// The row of sample `block / blocks_per_sample`, on the elements of one thread.
template <class T, class Bound, class Memory>
FD_HD void step_thread(const StepArgs& args, const StepPlan& plan, const SharedRow<T>& at,
                       int64_t block, int thread) {
  const int64_t sample = block / plan.blocks_per_sample;
  const int64_t first = block % plan.blocks_per_sample * plan.runs * plan.threads + thread;
  FD_ROLLED
  for (int k = 0; k < plan.runs; ++k) {
    const int64_t begin = (first + k * plan.threads) * kRun<T>;
    if (begin >= args.numel) return;
    step_run<T, Bound, Memory>(args, plan, at.row, at.use, at.index, sample, begin);
  }
}

/// What follows when all blocks of a sample are done.
template <class T>
FD_HD void advance_sample(const StepArgs& args, const Row<T>& row, int64_t sample) {
  if (args.t && row.in_scale != 0) {
    for (int g = 0; g < args.n_outputs; ++g) {
      const int64_t at = g * args.batch + sample;
      if (args.input == DType::kFloat64) {
        static_cast<double*>(args.t)[at] = static_cast<double>(row.t_next);
      } else {
        static_cast<float*>(args.t)[at] = static_cast<float>(row.t_next);
      }
    }
  }
  ++args.row[sample];
}

/// Samples without elements still advance.
template <class T>
FD_HD void advance_thread(const StepArgs& args, int64_t sample) {
  if (sample >= args.batch) return;
  const Row<T>* const row = row_at<T>(args, args.row[sample]);
  if (row && row->live != 0) advance_sample(args, *row, sample);
}

/// The last block of a sample to come here advances it. All have read args.row before.
template <class T>
FD_HD void finish_block(const StepArgs& args, const StepPlan& plan, const Row<T>& row,
                        int64_t sample, int32_t* tickets) {
  if (plan.blocks_per_sample > 1) {
    if (Team::add(tickets + sample, 1) != plan.blocks_per_sample - 1) return;
    tickets[sample] = 0;
  }
  advance_sample(args, row, sample);
}

/// A sample of a group of small ones, and what a thread has of it; no row: nothing to do.
template <class T>
struct Share {
  int64_t sample, index, begin;
  const Row<T>* row;
};

template <class T>
FD_HD Share<T> share_of(const StepArgs& args, const StepPlan& plan, int64_t block, int thread) {
  const int place = thread / plan.threads_per_sample, part = thread % plan.threads_per_sample;
  Share<T> share = {block * plan.samples_per_block + place, 0, part * kRun<T>, nullptr};
  if (place >= plan.samples_per_block || share.sample >= args.batch) return share;
  share.index = args.row[share.sample];
  share.row = row_at<T>(args, share.index);
  if (share.row && share.row->live == 0) share.row = nullptr;
  return share;
}

/// The row of a small sample, read where it lies: the samples of a warp mostly stand on one.
template <class T, class Bound, class Memory>
FD_HD void small_step_thread(const StepArgs& args, const StepPlan& plan, const Share<T>& share) {
  if (!share.row) return;
  step_run<T, Bound, Memory>(args, plan, *share.row, use_of(args, *share.row), share.index,
                             share.sample, share.begin);
}

/// After all threads of the block have read their rows.
template <class T>
FD_HD void finish_share(const StepArgs& args, const Share<T>& share) {
  if (share.row && share.begin == 0) advance_sample(args, *share.row, share.sample);
}

}  // namespace fastdiff::cuda
