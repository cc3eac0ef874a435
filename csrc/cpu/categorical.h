// Rows of logits on the CPU: some at a time lie in L1 and go through each step together. Long rows
// are padded to whole groups of lanes; short ones are turned, so that vectors run over rows and
// nothing is folded within one. The order of sums is the same.
#pragma once

#include "core/categorical.h"
#include "cpu/pass.h"
#include "cpu/turn.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

constexpr int kMostRows = 32;             // at a time,
constexpr int64_t kLogitsInCache = 2048;  // fewer if they are long

/// Folds kRowLanes values in halves.
template <class T, class Fold>
FD_HD T fold_lanes(T (&lane)[kRowLanes], const Fold& fold) {
  FD_UNROLL
  for (int width = kRowLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = fold(lane[i], lane[i + width]);
  }
  return lane[0];
}

/// A chunk of a sample: the sum of its log-probabilities, or the gradient of its logits. `Self`
/// says how many rows go together, and what becomes of them.
template <class Self, class T>
class Chunks {
 public:
  explicit Chunks(const CategoricalArgs& args) : args_(args) {}

  void chunk(int64_t sample, int64_t chunk) {
    Self& self = static_cast<Self&>(*this);
    const PassArgs& pass = args_.pass;
    const int64_t begin = chunk * kSumChunk, together = self.together();
    const int64_t stop = begin + kSumChunk < pass.numel ? begin + kSumChunk : pass.numel;
    const T g = static_cast<T>(number_of(pass.number[0], sample));
    with_operand_dtype<T>(pass.in[0].dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      const M* const logits =
          static_cast<const M*>(pass.in[0].data) + sample * pass.in[0].sample_stride;
      M* const out = static_cast<M*>(pass.out[0].data) + sample * pass.numel * args_.classes;
      for (int64_t i = begin; i < stop; i += together) {
        const int64_t n = stop - i < together ? stop - i : together;
        const int64_t* const level = args_.level + sample * pass.numel + i;
        self.load(logits + i * args_.classes, n);
        self.reduce(n);
        if (pass.result.data) {
          self.log_probs(level, n, log_prob_ + (i - begin));
        } else {
          self.gradients(g, level, n, out + i * args_.classes);
        }
      }
    });
    if (!pass.result.data) return;
    const int lanes = lanes_of_chunk(stop - begin);
    alignas(64) double lane[kSumLanes];
    std::fill_n(lane, lanes, 0.0);
    for (int64_t i = 0; i < stop - begin; ++i) lane[i % kSumLanes] += double(log_prob_[i]);
    store_sum(pass, sample, chunk, 1, 0, sum_lanes(lane, lanes));
  }

 protected:
  const CategoricalArgs& args_;

 private:
  T log_prob_[kSumChunk];
};

template <class T>
class Rows : public Chunks<Rows<T>, T> {
 public:
  explicit Rows(const CategoricalArgs& args)
      : Chunks<Rows, T>(args), padded_((args.classes + kRowLanes - 1) / kRowLanes * kRowLanes) {
    const int64_t fit = kLogitsInCache / padded_;
    rows_ = fit < 1 ? 1 : fit > kMostRows ? kMostRows : fit;
    logit_ = static_cast<T*>(std::aligned_alloc(64, 2 * rows_ * padded_ * sizeof(T)));
    term_ = logit_ + rows_ * padded_;
    std::fill(logit_, term_, -static_cast<T>(INFINITY));  // stays so beyond the classes
    const int64_t left = args.classes - (padded_ - kRowLanes);
    for (int i = 0; i < kRowLanes; ++i) inside_[i] = i < left ? T(1) : T(0);
  }
  ~Rows() { std::free(logit_); }

 private:
  using Chunks<Rows, T>::args_;
  friend class Chunks<Rows, T>;

  int64_t together() const { return rows_; }

  template <class M>
  void load(const M* logits, int64_t n) {
    for (int64_t r = 0; r < n; ++r) {
      T* const row = logit_ + r * padded_;
      const M* const from = logits + r * args_.classes;
      for (int64_t k = 0; k < args_.classes; ++k) row[k] = to_float(from[k]);
    }
  }

  /// The largest logit of each row, the terms and their sum.
  void reduce(int64_t n) {
    for (int64_t r = 0; r < n; ++r) {
      T lane[kRowLanes];
      std::copy_n(logit_ + r * padded_, kRowLanes, lane);
      over_groups(r, kRowLanes, [&](int64_t at, int i) { lane[i] = larger(logit_[at], lane[i]); });
      sum_[r].most = fold_lanes(lane, [](T a, T b) { return larger(b, a); });
    }
    for (int64_t r = 0; r < n; ++r) {
      const RowSum<T> sum = sum_[r];
      over_groups(r, 0, [&](int64_t at, int) { term_[at] = sum.term(logit_[at]); });
    }
    for (int64_t r = 0; r < n; ++r) {
      T lane[kRowLanes] = {};
      T* const last = term_ + (r + 1) * padded_ - kRowLanes;
      for (int i = 0; i < kRowLanes; ++i) last[i] *= inside_[i];
      over_groups(r, 0, [&](int64_t at, int i) { lane[i] += term_[at]; });
      sum_[r].sum = fold_lanes(lane, [](T a, T b) { return a + b; });
    }
  }

  /// Calls f(place, lane) for the padded row r from class `first` on.
  template <class F>
  FD_MEMBER void over_groups(int64_t r, int64_t first, const F& f) const {
    for (int64_t at = r * padded_ + first; at < (r + 1) * padded_; at += kRowLanes) {
#pragma GCC ivdep
      for (int i = 0; i < kRowLanes; ++i) f(at + i, i);
    }
  }

  void log_probs(const int64_t* level, int64_t n, T* to) const {
    for (int64_t r = 0; r < n; ++r) to[r] = sum_[r].log_prob(logit_[r * padded_ + level[r]]);
  }

  template <class M>
  void gradients(T g, const int64_t* level, int64_t n, M* out) const {
    for (int64_t r = 0; r < n; ++r, out += args_.classes) {
      const RowSum<T> sum = sum_[r];
      T* const term = term_ + r * padded_;
      const T chosen = sum.gradient(g, term[level[r]], true);
      over_groups(r, 0, [&](int64_t at, int) { term_[at] = sum.gradient(g, term_[at], false); });
      term[level[r]] = chosen;
      for (int64_t k = 0; k < args_.classes; ++k) from_float(term[k], out[k]);
    }
  }

  const int64_t padded_;
  int64_t rows_;
  T *logit_, *term_;
  RowSum<T> sum_[kMostRows];
  T inside_[kRowLanes];  // 1 for the classes of the last group, 0 beyond
};

/// Enough rows of no more than kRowLanes classes each: place (k, r) is class k of row r.
template <class T>
class ShortRows : public Chunks<ShortRows<T>, T> {
 public:
  explicit ShortRows(const CategoricalArgs& args) : Chunks<ShortRows, T>(args) {
    std::fill_n(logit_[0], kRowLanes * kMostRows, T(0));  // rows that are not there
  }

 private:
  using Chunks<ShortRows, T>::args_;
  friend class Chunks<ShortRows, T>;

  static int64_t together() { return kMostRows; }

  template <class M>
  void load(const M* logits, int64_t n) {
    turn(n, args_.classes, logits, args_.classes, logit_[0], kMostRows);
  }

  /// Calls f(row) for all of them.
  template <class F>
  FD_MEMBER static void over_rows(const F& f) {
#pragma GCC ivdep
    for (int r = 0; r < kMostRows; ++r) f(r);
  }

  void reduce(int64_t) {
    const int64_t classes = args_.classes;
    over_rows([&](int r) { most_[r] = logit_[0][r]; });
    for (int64_t k = 1; k < classes; ++k) {
      over_rows([&](int r) { most_[r] = larger(logit_[k][r], most_[r]); });
    }
    for (int64_t k = 0; k < classes; ++k) {
      over_rows([&](int r) { term_[k][r] = RowSum<T>{most_[r], T(1)}.term(logit_[k][r]); });
    }
    // In halves, as lanes are folded; those beyond the classes would add zeros.
    std::copy_n(term_[0], classes * kMostRows, lane_[0]);
    int64_t left = classes;
    for (int64_t width = kRowLanes / 2; width > 0; width /= 2) {
      for (int64_t k = 0; k + width < left; ++k) {
        over_rows([&](int r) { lane_[k][r] += lane_[k + width][r]; });
      }
      left = left < width ? left : width;
    }
  }

  void log_probs(const int64_t* level, int64_t n, T* to) const {
    alignas(64) T chosen[kMostRows] = {}, made[kMostRows];
    for (int64_t r = 0; r < n; ++r) chosen[r] = logit_[level[r]][r];
    over_rows([&](int r) { made[r] = RowSum<T>{most_[r], lane_[0][r]}.log_prob(chosen[r]); });
    std::copy_n(made, n, to);
  }

  template <class M>
  void gradients(T g, const int64_t* level, int64_t n, M* out) {
    alignas(64) T inverse[kMostRows], chosen[kMostRows];
    over_rows([&](int r) { inverse[r] = T(1) / lane_[0][r]; });
    for (int64_t r = 0; r < n; ++r) {
      chosen[r] = RowSum<T>::gradient(g, term_[level[r]][r], inverse[r], true);
    }
    for (int64_t k = 0; k < args_.classes; ++k) {
      over_rows(
          [&](int r) { term_[k][r] = RowSum<T>::gradient(g, term_[k][r], inverse[r], false); });
    }
    turn(args_.classes, n, term_[0], kMostRows, out, args_.classes);
    for (int64_t r = 0; r < n; ++r) from_float(chosen[r], out[r * args_.classes + level[r]]);
  }

  alignas(64) T logit_[kRowLanes][kMostRows], term_[kRowLanes][kMostRows];
  alignas(64) T lane_[kRowLanes][kMostRows], most_[kMostRows];
};

template <template <class> class Rows, class T>
void categorical_chunks(const CategoricalArgs& args, int64_t first, int64_t last) {
  Rows<T> rows(args);
  const int64_t chunks = sum_chunks_of(args.pass.numel);
  for (int64_t unit = first; unit < last; ++unit) rows.chunk(unit / chunks, unit % chunks);
}

template <class T>
void categorical_chunks(const CategoricalArgs& args, int64_t first, int64_t last) {
  const bool turned = args.classes <= kRowLanes && args.pass.numel >= kMostRows / 2;
  turned ? categorical_chunks<ShortRows, T>(args, first, last)
         : categorical_chunks<Rows, T>(args, first, last);
}

void categorical(const CategoricalArgs& args, int64_t first, int64_t last) {
  args.pass.compute == DType::kFloat64 ? categorical_chunks<double>(args, first, last)
                                       : categorical_chunks<float>(args, first, last);
}

}  // namespace
}  // namespace fastdiff
