// The body of a clone: include it once per instruction set, with FD_CLONE its name.
#include <algorithm>
#include <cstdlib>
#include <new>

#include "core/moments.h"
#include "core/quantile.h"
#include "cpu/backend.h"
#include "cpu/categorical.h"
#include "cpu/pass.h"
#include "cpu/tile.h"
#include "cpu/torch_normal.h"

namespace fastdiff::cpu {
namespace {

template <class T>
void step_tiles(const StepArgs& args, int64_t first, int64_t last) {
  const int64_t tiles = tiles_of(args.numel);
  const Row<T>* rows = static_cast<const Row<T>*>(args.rows);
  for (int64_t unit = first; unit < last;) {
    const int64_t sample = unit / tiles;
    const int64_t stop = sample * tiles + tiles < last ? sample * tiles + tiles : last;
    const Row<T>& row = rows[args.row[sample]];
    if (row.live != 0) {
      CpuTile<T> tile(args, row, sample, args.row[sample]);
      for (int64_t k = unit - sample * tiles; k < stop - sample * tiles; ++k) {
        const int64_t begin = k * kTile;
        tile.run(begin, args.numel - begin < kTile ? args.numel - begin : kTile);
      }
    }
    unit = stop;
  }
}

/// Sorts no more than it has to. NaN counts as larger than any number.
template <class T>
T threshold_of(const Row<T>& row, T* magnitude, int64_t n) {
  const Rank rank = rank_of(row.dynamic, n);
  const auto less = [](T a, T b) { return a < b || (b != b && a == a); };
  T* const at = magnitude + rank.below;
  std::nth_element(magnitude, at, magnitude + n, less);
  const T above = rank.fraction > 0 ? *std::min_element(at + 1, magnitude + n, less) : *at;
  return threshold_between(row, *at, above, rank.fraction);
}

/// The sample's own bound of m: a quantile of |m|, within [1, clip_high].
template <class T>
void sample_thresholds(const StepArgs& args, int64_t first, int64_t last) {
  const Row<T>* rows = static_cast<const Row<T>*>(args.rows);
  T* const magnitude = static_cast<T*>(std::malloc((args.numel + 1) * sizeof(T)));
  if (!magnitude) throw std::bad_alloc();
  for (int64_t sample = first; sample < last; ++sample) {
    const Row<T>& row = rows[args.row[sample]];
    if (row.live == 0 || !use_of(args, row).dynamic || args.numel == 0) continue;
    CpuTile<T> tile(args, row, sample, args.row[sample]);
    for (int64_t begin = 0; begin < args.numel; begin += kTile) {
      const int64_t n = args.numel - begin < kTile ? args.numel - begin : kTile;
      tile.magnitudes(begin, n, magnitude + begin);
    }
    static_cast<T*>(args.threshold)[sample] = threshold_of(row, magnitude, args.numel);
  }
  std::free(magnitude);
}

void thresholds(const StepArgs& args, int64_t first, int64_t last) {
  args.state == DType::kFloat32 ? sample_thresholds<float>(args, first, last)
                                : sample_thresholds<double>(args, first, last);
}

template <class T, class Time>
void advance(const StepArgs& args) {
  const Row<T>* rows = static_cast<const Row<T>*>(args.rows);
  Time* t = static_cast<Time*>(args.t);
  for (int64_t b = 0; b < args.batch; ++b) {
    const Row<T>& row = rows[args.row[b]];
    if (row.live == 0) continue;
    if (t && row.in_scale != 0) {
      for (int g = 0; g < args.n_outputs; ++g)
        t[g * args.batch + b] = static_cast<Time>(row.t_next);
    }
    ++args.row[b];
  }
}

void step(const StepArgs& args, int64_t first, int64_t last) {
  args.state == DType::kFloat32 ? step_tiles<float>(args, first, last)
                                : step_tiles<double>(args, first, last);
}

void step_advance(const StepArgs& args) {
  if (args.state == DType::kFloat32) return advance<float, float>(args);
  args.input == DType::kFloat64 ? advance<double, double>(args) : advance<double, float>(args);
}

template <class T>
void normal_tiles(const NormalArgs& args, int64_t first, int64_t last) {
  constexpr int64_t kPerBlock = sizeof(T) == sizeof(double) ? 2 : 4;
  const int64_t tiles = tiles_of(args.numel);
  alignas(64) T scratch[kTile];
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t event = unit / tiles, begin = unit % tiles * kTile;
    const int64_t n = args.numel - begin < kTile ? args.numel - begin : kTile;
    const uint64_t block =
        static_cast<uint64_t>(args.keys[2 * event + 1]) + static_cast<uint64_t>(begin / kPerBlock);
    normals(static_cast<uint64_t>(args.keys[2 * event]), block, n, scratch);
    memcpy(static_cast<T*>(args.out) + event * args.numel + begin, scratch, n * sizeof(T));
  }
}

void normal(const NormalArgs& args, int64_t first, int64_t last) {
  args.dtype == DType::kFloat64 ? normal_tiles<double>(args, first, last)
                                : normal_tiles<float>(args, first, last);
}

/// The lanes of a chunk, one sum after the other: vectors run over lanes.
struct MomentLanes {
  double a[kMomentLanes] = {}, b[kMomentLanes] = {};
  double aa[kMomentLanes] = {}, ab[kMomentLanes] = {}, bb[kMomentLanes] = {};

  template <class T>
  void add(const T* x, const T* y, int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      Moments sum = {a[i], b[i], aa[i], ab[i], bb[i]};
      accumulate(sum, static_cast<double>(to_float(x[i])), static_cast<double>(to_float(y[i])));
      a[i] = sum.a, b[i] = sum.b;
      aa[i] = sum.aa, ab[i] = sum.ab, bb[i] = sum.bb;
    }
  }
  Moments fold_all() {
    return {fold(a, kMomentLanes), fold(b, kMomentLanes), fold(aa, kMomentLanes),
            fold(ab, kMomentLanes), fold(bb, kMomentLanes)};
  }
};

template <class T>
Moments sample_moments(const T* a, const T* b, int64_t numel) {
  Moments partial[kPartialLanes] = {};
  for (int64_t chunk = 0; chunk < chunks_of(numel); ++chunk) {
    MomentLanes lanes;
    const int64_t begin = chunk * kMomentChunk;
    const int64_t stop = begin + kMomentChunk < numel ? begin + kMomentChunk : numel;
    for (int64_t i = begin; i < stop; i += kMomentLanes) {
      lanes.add(a + i, b + i, stop - i < kMomentLanes ? stop - i : kMomentLanes);
    }
    partial[chunk % kPartialLanes] += lanes.fold_all();
  }
  return fold(partial, kPartialLanes);
}

void moments(const MomentArgs& args, int64_t first, int64_t last) {
  with_dtype(args.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t s = first; s < last; ++s) {
      const Moments sum =
          sample_moments(static_cast<const T*>(args.a) + s * args.a_sample_stride,
                         static_cast<const T*>(args.b) + s * args.b_sample_stride, args.numel);
      memcpy(args.out + 5 * s, &sum, sizeof(sum));
    }
  });
}

#define FD_STRING_(name) #name
#define FD_STRING(name) FD_STRING_(name)
constexpr Backend kBackend = {
    FD_STRING(FD_CLONE), thresholds, step,        step_advance,   normal,          moments,
    pass_units,          pass,       categorical, mersenne_words, mersenne_normals};

}  // namespace

const Backend& FD_CLONE() { return kBackend; }

}  // namespace fastdiff::cpu
