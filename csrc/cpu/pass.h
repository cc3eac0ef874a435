// Passes on the CPU: a formula runs over tiles, one vector loop for all that it reads, makes and
// sums. Per-sample numbers are spread over the tile, so that one loop serves a tile of a long
// sample and a tile of many short ones.
#pragma once

#include "core/pass.h"
#include "cpu/noise.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

constexpr int64_t kShortSample = kTile / 2;  // samples up to this size share tiles

template <class T>
bool same_type(DType dtype) {
  return dtype == (sizeof(T) == sizeof(double) ? DType::kFloat64 : DType::kFloat32);
}

/// Elements of some samples: [at, at + n) of each, in one tile.
struct Span {
  int64_t sample, samples, at, n;

  int64_t numel() const { return samples * n; }
};

// Called by every formula: one copy of each.

/// An input as T, in place or in `to`.
template <class T>
__attribute__((noinline)) const T* read(const Input& in, const Span& span, T* to) {
  if (!in.data) {
    std::fill(to, to + span.numel(), T(0));
    return to;
  }
  const T* ready = to;
  with_operand_dtype<T>(in.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    const M* from = static_cast<const M*>(in.data) + span.sample * in.sample_stride;
    if constexpr (sizeof(M) == sizeof(T)) {
      if (!in.constant && (span.samples == 1 || in.sample_stride == span.n)) {
        ready = reinterpret_cast<const T*>(from) + span.at;
        return;
      }
    }
    for (int64_t s = 0; s < span.samples; ++s, from += in.sample_stride, to += span.n) {
      if (in.constant) {
        std::fill(to, to + span.n, to_float(*from));
      } else {
        for (int64_t i = 0; i < span.n; ++i) to[i] = to_float(from[span.at + i]);
      }
    }
  });
  return ready;
}

/// The noise of a pass, in place or in `to`.
template <class T>
__attribute__((noinline)) const T* draw(const PassArgs& args, const Span& span, T* to) {
  constexpr int64_t kPerBlock = sizeof(T) == sizeof(double) ? 2 : 4;
  if (!args.keys) return read(args.noise, span, to);
  const int64_t* const key = args.keys + 2 * span.sample;
  if (span.samples > 1) {
    normals_of_each(key, span.samples, span.n, to);
  } else {
    const uint64_t first =
        static_cast<uint64_t>(key[1]) + static_cast<uint64_t>(span.at / kPerBlock);
    normals(static_cast<uint64_t>(key[0]), first, span.n, to);
  }
  return to;
}

/// Where an output goes: into its tensor, or into `scratch` to be converted or forgotten.
template <class T>
T* place(const Output& out, const PassArgs& args, const Span& span, T* scratch) {
  if (!out.data || !same_type<T>(out.dtype)) return scratch;
  return static_cast<T*>(out.data) + span.sample * args.numel + span.at;
}

template <class T>
__attribute__((noinline)) void convert(const Output& out, const PassArgs& args, const Span& span,
                                       const T* scratch) {
  if (!out.data || same_type<T>(out.dtype)) return;
  with_operand_dtype<T>(out.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    M* const to = static_cast<M*>(out.data) + span.sample * args.numel + span.at;
    for (int64_t i = 0; i < span.numel(); ++i) from_float(scratch[i], to[i]);
  });
}

template <class F, class T>
class Pass {
 public:
  explicit Pass(const PassArgs& args) : args_(args) {}

  /// A chunk of a long sample.
  void chunk(int64_t sample, int64_t chunk) {
    const Prepared<T> prepared = prepare<F, T>(args_, sample);
    spread(prepared, 0, kTile);
    const int64_t begin = chunk * kSumChunk;
    const int64_t stop = begin + kSumChunk < args_.numel ? begin + kSumChunk : args_.numel;
    alignas(64) double lanes[kSums][kSumLanes] = {};
    for (int64_t at = begin; at < stop; at += kTile) {
      const int64_t n = stop - at < kTile ? stop - at : kTile;
      run({sample, 1, at, n});
      for (int k = 0; k < F::kSums; ++k) {
        double* const lane = lanes[k] + at % kSumLanes;
        for (int64_t i = 0; i < n; ++i) lane[i] += static_cast<double>(term_[k][i]);
      }
    }
    for (int k = 0; k < F::kSums; ++k) {
      const double sum = fold(lanes[k], kSumLanes);
      store_sum(args_, sample, chunk, F::kSums, k, prepared.factor * sum);
    }
  }

  /// The short samples [first, last), no more than share a tile.
  void samples(int64_t first, int64_t last) {
    const int64_t n = args_.numel;
    double factor[kTile];
    for (int64_t s = first; s < last; ++s) {
      const Prepared<T> prepared = prepare<F, T>(args_, s);
      spread(prepared, (s - first) * n, n);
      factor[s - first] = prepared.factor;
    }
    run({first, last - first, 0, n});
    const int lanes = lanes_for(n);
    for (int64_t s = first; s < last; ++s) {
      for (int k = 0; k < F::kSums; ++k) {
        double lane[kShortSample];
        const T* const term = term_[k] + (s - first) * n;
        for (int i = 0; i < lanes; ++i) lane[i] = i < n ? static_cast<double>(term[i]) : 0.0;
        store_sum(args_, s, 0, F::kSums, k, factor[s - first] * fold(lane, lanes));
      }
    }
  }

 private:
  static constexpr int kSums = F::kSums ? F::kSums : 1, kOutputs = F::kOutputs ? F::kOutputs : 1;
  static constexpr int kNumbers = F::kNumbers ? F::kNumbers : 1;

  void spread(const Prepared<T>& prepared, int64_t at, int64_t n) {
    for (int k = 0; k < F::kNumbers; ++k) {
      std::fill(number_[k] + at, number_[k] + at + n, prepared.number[k]);
    }
  }

  __attribute__((noinline)) void run(const Span& span) {
    const T* in[kMaxTensors];
    for (int k = 0; k < F::kInputs; ++k) in[k] = read(args_.in[k], span, in_[k]);
    const T* const noise = F::kNoise ? draw(args_, span, noise_) : nullptr;
    T* out[kOutputs];
    for (int k = 0; k < F::kOutputs; ++k) out[k] = place(args_.out[k], args_, span, out_[k]);
    evaluate(in, noise, out, span.numel());
    for (int k = 0; k < F::kOutputs; ++k) convert(args_.out[k], args_, span, out_[k]);
  }

  void evaluate(const T* const (&in)[kMaxTensors], const T* noise, T* const (&out)[kOutputs],
                int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      Element<T> e;
      FD_UNROLL
      for (int k = 0; k < F::kInputs; ++k) e.in[k] = in[k][i];
      if constexpr (F::kNoise) e.noise = noise[i];
      FD_UNROLL
      for (int k = 0; k < F::kNumbers; ++k) e.number[k] = number_[k][i];
      F::element(e);
      FD_UNROLL
      for (int k = 0; k < F::kOutputs; ++k) out[k][i] = e.out[k];
      FD_UNROLL
      for (int k = 0; k < F::kSums; ++k) term_[k][i] = e.term[k];
    }
  }

  const PassArgs& args_;
  alignas(64) T in_[kMaxTensors][kTile];
  alignas(64) T noise_[kTile + 1];
  alignas(64) T number_[kNumbers][kTile];
  alignas(64) T out_[kOutputs][kTile];
  alignas(64) T term_[kSums][kTile];
};

/// Calls f(formula tag, type tag) of the pass.
template <class Function>
void with_pass(const PassArgs& args, const Function& f) {
  with_formula(args.formula, [&](auto formula) {
    args.compute == DType::kFloat64 ? f(formula, TypeTag<double>{}) : f(formula, TypeTag<float>{});
  });
}

/// Units of work: tiles of short samples, or chunks of long ones.
int64_t pass_units(const PassArgs& args) {
  if (args.numel > kShortSample) return args.batch * sum_chunks_of(args.numel);
  const int64_t together = args.numel ? streams_of_tile(args.numel) : 1;
  return args.numel ? (args.batch + together - 1) / together : 0;
}

void pass(const PassArgs& args, int64_t first, int64_t last) {
  with_pass(args, [&](auto formula, auto type) {
    Pass<typename decltype(formula)::type, typename decltype(type)::type> pass(args);
    if (args.numel > kShortSample) {
      const int64_t chunks = sum_chunks_of(args.numel);
      for (int64_t u = first; u < last; ++u) pass.chunk(u / chunks, u % chunks);
    } else {
      const int64_t together = streams_of_tile(args.numel);
      const int64_t stop = last * together < args.batch ? last * together : args.batch;
      for (int64_t s = first * together; s < stop; s += together) {
        pass.samples(s, s + together < stop ? s + together : stop);
      }
    }
  });
}

/// The results of samples [first, last) from the sums of their chunks.
void pass_results(const PassArgs& args, int64_t first, int64_t last) {
  const int64_t chunks = sum_chunks_of(args.numel);
  PassArgs whole = args;
  whole.partial = nullptr;
  with_formula(args.formula, [&](auto formula) {
    constexpr int kSums = decltype(formula)::type::kSums;
    for (int64_t s = first; s < last; ++s) {
      for (int k = 0; k < kSums; ++k) {
        double lane[kPartialLanes];
        for (int i = 0; i < kPartialLanes; ++i) {
          lane[i] = partial_lane(args.partial + s * chunks * kSums + k, chunks, kSums, i);
        }
        store_sum(whole, s, 0, kSums, k, fold(lane, kPartialLanes));
      }
    }
  });
}

}  // namespace
}  // namespace fastdiff
