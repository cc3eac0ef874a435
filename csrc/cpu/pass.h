// Passes on the CPU: a formula runs over tiles in one vector loop for all that it reads, makes and
// sums. A tile is part of a chunk of a long sample, or it holds many short ones, each element then
// having its sample's numbers beside it.
#pragma once

#include "core/pass.h"
#include "cpu/noise.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

// Up to this size float32 samples share tiles; if they draw noise, whose blocks then have to be
// gathered, only smaller ones do (measured: from 90 numbers on it is slower).
constexpr int64_t kShortSample = kTile / 2, kShortDraw = kTile / 3;

template <class T>
bool same_type(DType dtype) {
  return dtype == (sizeof(T) == sizeof(double) ? DType::kFloat64 : DType::kFloat32);
}

/// The elements [at, at + n) of `samples` samples, all in one tile.
struct Span {
  int64_t sample, samples, at, n;

  int64_t numel() const { return samples * n; }
};

/// Where the values of an input are, for one span after the other.
template <class T>
struct Source {
  const T* ready;     // the first element of the samples if the values need no conversion
  const void* other;  // else
  bool moves;         // `ready` advances from span to span; else it is the same for all
};

// Called by every formula: one copy of each.

/// Prepares reading from `sample` on; a constant is spread over `scratch` for spans like `first`.
/// The source is written in its place: one that is returned is copied in wider moves than those
/// that wrote it, which wait for memory.
template <class T>
__attribute__((noinline)) void open(const Input& in, const Span& first, T* scratch,
                                    Source<T>& source) {
  source.ready = scratch, source.other = nullptr, source.moves = false;
  if (!in.data) {
    std::fill(scratch, scratch + kTile, T(0));
    return;
  }
  with_operand_dtype<T>(in.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    const M* const from = static_cast<const M*>(in.data) + first.sample * in.sample_stride;
    if (in.constant) {
      for (int64_t s = 0; s < first.samples; ++s) {
        T* const to = scratch + s * first.n;
        std::fill(to, to + first.n, to_float(from[s * in.sample_stride]));
      }
    } else if (sizeof(M) == sizeof(T) && (first.samples == 1 || in.sample_stride == first.n)) {
      source.ready = reinterpret_cast<const T*>(from), source.moves = true;
    } else {
      source.other = from;
    }
  });
}

template <class T>
__attribute__((noinline)) const T* widen(const Input& in, const void* data, const Span& span,
                                         T* scratch) {
  with_operand_dtype<T>(in.dtype, [&](auto tag) {
    const auto* from = static_cast<const typename decltype(tag)::type*>(data) + span.at;
    T* to = scratch;
    for (int64_t s = 0; s < span.samples; ++s, from += in.sample_stride, to += span.n) {
      for (int64_t i = 0; i < span.n; ++i) to[i] = to_float(from[i]);
    }
  });
  return scratch;
}

/// The values of a span, in place or in `scratch`.
template <class T>
const T* read(const Input& in, const Source<T>& source, const Span& span, T* scratch) {
  if (source.other) return widen(in, source.other, span, scratch);
  return source.moves ? source.ready + span.at : source.ready;
}

template <class T>
__attribute__((noinline)) void draw(const int64_t* keys, const Span& span, T* to) {
  constexpr int64_t kPerBlock = sizeof(T) == sizeof(double) ? 2 : 4;
  const int64_t* const key = keys + 2 * span.sample;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (span.samples > 1) return normals_of_each(key, span.samples, span.n, to);
  }
  const uint64_t first = static_cast<uint64_t>(key[1]) + static_cast<uint64_t>(span.at / kPerBlock);
  normals(static_cast<uint64_t>(key[0]), first, span.n, to);
}

/// Where an output goes: into its tensor, or into `scratch` to be converted or forgotten.
template <class T>
T* place(const Output& out, int64_t numel, const Span& span, T* scratch) {
  if (!out.data || !same_type<T>(out.dtype)) return scratch;
  return static_cast<T*>(out.data) + span.sample * numel + span.at;
}

/// Stores what is not in its place.
template <class T>
__attribute__((noinline)) void store(const Output& out, int64_t numel, const Span& span,
                                     const T* from) {
  with_operand_dtype<T>(out.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    M* const to = static_cast<M*>(out.data) + span.sample * numel + span.at;
    for (int64_t i = 0; i < span.numel(); ++i) from_float(from[i], to[i]);
  });
}

/// Lane i after folding kLanes lanes to kWidth: the tree of core/sums.h, no store between its
/// levels.
template <int kWidth, int kLanes, class T>
inline __attribute__((always_inline)) double folded_lane(const T* lane, int i) {
  if constexpr (kWidth < kLanes) {
    return folded_lane<2 * kWidth, kLanes>(lane, i) +
           folded_lane<2 * kWidth, kLanes>(lane, i + kWidth);
  } else {
    return static_cast<double>(lane[i]);
  }
}

template <int kLanes, class T>
double fold_to_one(const T* lane) {
  constexpr int kWidth = kLanes < 32 ? kLanes : 32;
  alignas(64) double folded[kWidth];
  for (int i = 0; i < kWidth; ++i) folded[i] = folded_lane<kWidth, kLanes>(lane, i);
  return fold(folded, kWidth);
}

/// The sum of `lanes` <= kSumLanes numbers, a power of two.
template <class T>
__attribute__((noinline)) double sum_lanes(const T* lane, int lanes) {
  switch (lanes) {
    case 1: return fold_to_one<1>(lane);
    case 2: return fold_to_one<2>(lane);
    case 4: return fold_to_one<4>(lane);
    case 8: return fold_to_one<8>(lane);
    case 16: return fold_to_one<16>(lane);
    case 32: return fold_to_one<32>(lane);
    case 64: return fold_to_one<64>(lane);
    case 128: return fold_to_one<128>(lane);
    case 256: return fold_to_one<256>(lane);
    default: return fold_to_one<kSumLanes>(lane);
  }
}

int lanes_of_chunk(int64_t n) { return n < kSumLanes ? lanes_for(n) : kSumLanes; }

template <class F, class T>
class Pass {
 public:
  explicit Pass(const PassArgs& args) : args_(args) {}

  /// A chunk of a sample.
  void chunk(int64_t sample, int64_t chunk) {
    const Prepared<T> prepared = prepare<F, T>(args_, sample);
    const int64_t begin = chunk * kSumChunk;
    const int64_t stop = begin + kSumChunk < args_.numel ? begin + kSumChunk : args_.numel;
    const int64_t n = stop - begin;
    const int lanes = lanes_of_chunk(n);
    const auto number = [&](int k, int64_t) { return prepared.number[k]; };
    const auto span = [&](int64_t from) {
      const int64_t at = begin + from;
      return Span{sample, 1, at, stop - at < kTile ? stop - at : kTile};
    };
    begin_spans(span(0));
    // Terms add to their lanes as they are made: what waits for memory goes on meanwhile. Those of
    // the first row need no zeros to add to.
    int64_t at = 0;
    for (; at < n && at < (F::kSums ? kSumLanes : n); at += kTile) {
      run(span(at), number, [&](int k, int64_t i, T term) { lane_[k][at + i] = 0.0 + term; });
    }
    for (int k = 0; k < F::kSums && n < lanes; ++k) std::fill(lane_[k] + n, lane_[k] + lanes, 0.0);
    for (; at < n; at += kTile) {
      run(span(at), number,
          [&](int k, int64_t i, T term) { lane_[k][at % kSumLanes + i] += term; });
    }
    for (int k = 0; k < F::kSums; ++k) {
      const double sum = sum_lanes(lane_[k], lanes);
      store_sum(args_, sample, chunk, F::kSums, k, prepared.factor * sum);
    }
  }

  /// The short samples [first, last), no more than share a tile.
  void samples(int64_t first, int64_t last) {
    const int64_t n = args_.numel;
    const int lanes = lanes_for(n);
    alignas(64) T number[kNumbers][kTile];
    double factor[kTile];
    for (int64_t s = first; s < last; ++s) {
      const Prepared<T> prepared = prepare<F, T>(args_, s);
      for (int k = 0; k < F::kNumbers; ++k) {
        T* const to = number[k] + (s - first) * n;
        std::fill(to, to + n, prepared.number[k]);
      }
      factor[s - first] = prepared.factor;
    }
    const Span span = {first, last - first, 0, n};
    begin_spans(span);
    alignas(64) T term[kSums][F::kSums ? kTile : 1];
    run(
        span, [&](int k, int64_t i) { return number[k][i]; },
        [&](int k, int64_t i, T value) { term[k][i] = value; });
    for (int64_t s = first; s < last; ++s) {
      for (int k = 0; k < F::kSums; ++k) {
        const T* lane = term[k] + (s - first) * n;
        T padded[kShortSample];
        if (lanes != n) {
          std::fill(std::copy_n(lane, n, padded), padded + lanes, T(0));
          lane = padded;
        }
        const double sum = 0.0 + sum_lanes(lane, lanes);  // never -0
        store_sum(args_, s, 0, F::kSums, k, factor[s - first] * sum);
      }
    }
  }

 private:
  static constexpr int kInputs = F::kInputs + F::kNoise;  // given noise is the last one
  static constexpr int kOutputs = F::kOutputs ? F::kOutputs : 1;
  static constexpr int kNumbers = F::kNumbers ? F::kNumbers : 1;
  static constexpr int kSums = F::kSums ? F::kSums : 1;

  const Input& input(int k) const { return k < F::kInputs ? args_.in[k] : args_.noise; }

  void begin_spans(const Span& first) {
    for (int k = 0; k < kInputs; ++k) open(input(k), first, in_[k], source_[k]);
  }

  /// One span; number(k, i) is that of element i, whose terms go to keep(k, i, term).
  template <class Number, class Keep>
  void run(const Span& span, const Number& number, const Keep& keep) {
    const T* in[kInputs];
    for (int k = 0; k < kInputs; ++k) in[k] = read(input(k), source_[k], span, in_[k]);
    if (F::kNoise && args_.keys) draw(args_.keys, span, in_[kInputs - 1]);  // where `in` points
    T* out[kOutputs];
    for (int k = 0; k < F::kOutputs; ++k) out[k] = place(args_.out[k], args_.numel, span, out_[k]);
    const int64_t n = span.numel();
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      Element<T> e;
      FD_UNROLL
      for (int k = 0; k < F::kInputs; ++k) e.in[k] = in[k][i];
      if constexpr (F::kNoise) e.noise = in[kInputs - 1][i];
      FD_UNROLL
      for (int k = 0; k < F::kNumbers; ++k) e.number[k] = number(k, i);
      F::element(e);
      FD_UNROLL
      for (int k = 0; k < F::kOutputs; ++k) out[k][i] = e.out[k];
      FD_UNROLL
      for (int k = 0; k < F::kSums; ++k) keep(k, i, e.term[k]);
    }
    for (int k = 0; k < F::kOutputs; ++k) {
      const Output& to = args_.out[k];
      if (to.data && out[k] == out_[k]) store(to, args_.numel, span, out[k]);
    }
  }

  const PassArgs& args_;
  Source<T> source_[kInputs];
  alignas(64) T in_[kInputs][kTile];
  alignas(64) T out_[kOutputs][kTile];
  alignas(64) double lane_[kSums][F::kSums ? kSumLanes : 1];  // of a chunk
};

/// Calls f(formula tag, type tag) of the pass.
template <class Function>
void with_pass(const PassArgs& args, const Function& f) {
  with_formula(args.formula, [&](auto formula) {
    args.compute == DType::kFloat64 ? f(formula, TypeTag<double>{}) : f(formula, TypeTag<float>{});
  });
}

/// Samples that one unit of work covers; 0: one chunk of a sample.
int64_t samples_of_unit(const PassArgs& args) {
  const int64_t most = args.keys ? kShortDraw : kShortSample;
  const bool together = args.compute == DType::kFloat32 && args.numel > 0 && args.numel <= most;
  return together ? streams_of_tile(args.numel) : 0;
}

int64_t pass_units(const PassArgs& args) {
  if (args.numel == 0) return 0;
  const int64_t together = samples_of_unit(args);
  return together ? (args.batch + together - 1) / together : args.batch * sum_chunks_of(args.numel);
}

void pass(const PassArgs& args, int64_t first, int64_t last) {
  const int64_t chunks = sum_chunks_of(args.numel), together = samples_of_unit(args);
  with_pass(args, [&](auto formula, auto type) {
    using T = typename decltype(type)::type;
    Pass<typename decltype(formula)::type, T> pass(args);
    for (int64_t unit = first; unit < last; ++unit) {
      if (!together) {
        pass.chunk(unit / chunks, unit % chunks);
      } else if constexpr (sizeof(T) == sizeof(float)) {
        const int64_t s = unit * together;
        pass.samples(s, s + together < args.batch ? s + together : args.batch);
      }
    }
  });
}

}  // namespace
}  // namespace fastdiff
