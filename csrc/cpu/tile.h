// A tile on the CPU: up to kTile consecutive elements of one sample, worked on in L1. Operands that
// lie ready in memory are used where they are; others (other dtypes, other strides, noise) are
// brought into scratch first.
#pragma once

#include "core/dispatch.h"
#include "core/element.h"
#include "cpu/noise.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

/// sum_j coef_j operand_j over a tile: the terms are collected first and then added in one pass.
template <class T>
struct TileSum {
  static constexpr int kMaxTerms = 6 + kHistory;
  const T* operand[kMaxTerms];
  T coef[kMaxTerms];
  int terms = 0;

  FD_MEMBER void add(T k, const T* v) {
    if (k == 0) return;
    coef[terms] = k;
    operand[terms++] = v;
  }
};

/// to[i] = the sum, for n elements; `to` may be one of the operands. With kScaled, in the same
/// pass, y[i] = scale * to[i].
template <class T, int kTerms, bool kScaled>
void sum_of(const TileSum<T>& sum, int64_t n, T* to, T scale, T* y) {
  const T* v[kTerms + 1];
  T k[kTerms + 1];
  for (int j = 0; j < kTerms; ++j) v[j] = sum.operand[j], k[j] = sum.coef[j];
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    T value = 0;
    FD_UNROLL
    for (int j = 0; j < kTerms; ++j) value = fma_(k[j], v[j][i], value);
    to[i] = value;
    if (kScaled) y[i] = scale * value;
  }
}

template <bool kScaled = false, class T>
void evaluate(const TileSum<T>& sum, int64_t n, T* to, T scale = 0, T* y = nullptr) {
  switch (sum.terms) {
    case 0: return sum_of<T, 0, kScaled>(sum, n, to, scale, y);
    case 1: return sum_of<T, 1, kScaled>(sum, n, to, scale, y);
    case 2: return sum_of<T, 2, kScaled>(sum, n, to, scale, y);
    case 3: return sum_of<T, 3, kScaled>(sum, n, to, scale, y);
    case 4: return sum_of<T, 4, kScaled>(sum, n, to, scale, y);
    case 5: return sum_of<T, 5, kScaled>(sum, n, to, scale, y);
    case 6: return sum_of<T, 6, kScaled>(sum, n, to, scale, y);
  }
  alignas(64) T value[kTile];
  for (int64_t i = 0; i < n; ++i) value[i] = 0;
  for (int j = 0; j < sum.terms; ++j) {
    for (int64_t i = 0; i < n; ++i) value[i] = fma_(sum.coef[j], sum.operand[j][i], value[i]);
  }
  memcpy(to, value, n * sizeof(T));
  for (int64_t i = 0; kScaled && i < n; ++i) y[i] = scale * value[i];
}

template <class T>
class CpuTile {
 public:
  using Sum = TileSum<T>;

  CpuTile(const StepArgs& args, const Row<T>& row, int64_t sample, int64_t row_index)
      : args_(args), row_(row), sample_(sample) {
    const T* w = static_cast<const T*>(args.weights);
    weights_ =
        w ? w + row_index * args.weight_row_stride + sample * args.weight_sample_stride : nullptr;
  }

  void move_to(int64_t begin, int64_t n) {
    begin_ = begin;
    n_ = n;
    base_ = sample_ * args_.numel + begin;
  }

  T* x() { return static_cast<T*>(args_.x) + base_; }
  T* saved() { return static_cast<T*>(args_.saved) + base_; }
  T* history(int slot) {
    return static_cast<T*>(args_.history) + slot * args_.batch * args_.numel + base_;
  }
  const T* output() const { return output_; }
  const T* quantity() const { return quantity_; }
  const T* noise() const { return noise_; }
  const T* previous_noise() const { return previous_noise_; }

  void mix_outputs() {
    if (!weights_) {
      output_ = model_output(0);
      return;
    }
    Sum mix;
    for (int g = 0; g < args_.n_outputs; ++g) {
      if (weights_[g] != 0) mix.add(weights_[g], model_output(g));
    }
    evaluate(mix, n_, mixed_);
    output_ = mixed_;
  }

  void set_quantity(const Sum& m, T low, T high) {
    evaluate(m, n_, clipped_);
    for (int64_t i = 0; i < n_; ++i) clipped_[i] = clip(clipped_[i], low, high);
    quantity_ = clipped_;
  }

  void draw_noise() { noise_ = gaussian(args_.z, row_.draw, fresh_); }
  void draw_previous_noise() { previous_noise_ = gaussian(args_.z_prev, row_.draw - 1, earlier_); }

  void store(const Sum& next, const Sum& saved_sum, bool saves, const Sum& memory, int slot,
             T in_scale) {
    const bool slot_is_read = slot >= 0 && (row_.c.h[slot] != 0 || row_.d.h[slot] != 0);
    if (saves) evaluate(saved_sum, n_, anchor_);
    if (slot >= 0) evaluate(memory, n_, slot_is_read ? memory_ : history(slot));
    const bool writes_input = in_scale != 0 && args_.model_input;
    const bool same_type = (args_.input == DType::kFloat64) == (sizeof(T) == sizeof(double)) &&
                           (args_.input == DType::kFloat64 || args_.input == DType::kFloat32);
    if (writes_input && same_type) {
      T* y = static_cast<T*>(args_.model_input) + base_;
      evaluate<true>(next, n_, x(), in_scale, y);
      repeat_input(y);
    } else {
      evaluate(next, n_, x());
    }
    if (saves) memcpy(saved(), anchor_, n_ * sizeof(T));
    if (slot_is_read) memcpy(history(slot), memory_, n_ * sizeof(T));
    if (writes_input && !same_type) {
      with_dtype(args_.input, [&](auto tag) {
        write_input(static_cast<typename decltype(tag)::type*>(args_.model_input), in_scale);
      });
    }
  }

 private:
  template <class M>
  void write_input(M* y, T in_scale) {
    const T* from = x();
    y += base_;
    for (int64_t i = 0; i < n_; ++i) from_float(from[i] * in_scale, y[i]);
    repeat_input(y);
  }

  template <class M>
  void repeat_input(M* y) {
    for (int g = 1; g < args_.n_outputs; ++g) {
      memcpy(y + g * args_.batch * args_.numel, y, n_ * sizeof(M));
    }
  }

  const T* model_output(int g) {
    const OutputView& view = args_.out[g];
    const T* ready = nullptr;
    with_dtype(args_.output, [&](auto tag) {
      using M = typename decltype(tag)::type;
      const M* data = static_cast<const M*>(view.data) + sample_ * view.sample_stride;
      const bool contiguous = args_.out_dims == 1 && view.stride[0] == 1;
      if constexpr (sizeof(M) == sizeof(T)) {
        if (contiguous) {
          ready = reinterpret_cast<const T*>(data) + begin_;
          return;
        }
      }
      T* to = outputs_[g];
      if (contiguous) {
        for (int64_t i = 0; i < n_; ++i) to[i] = to_float(data[begin_ + i]);
      } else {
        gather(data, view.stride, to);
      }
      ready = to;
    });
    return ready;
  }

  /// Elements begin .. begin + n of a strided sample, walked along its innermost dimension.
  template <class M>
  void gather(const M* data, const int64_t* stride, T* to) {
    const int last = args_.out_dims - 1;
    for (int64_t done = 0; done < n_;) {
      int64_t index = begin_ + done, offset = 0;
      const int64_t inner = index % args_.out_size[last];
      index /= args_.out_size[last];
      for (int d = last - 1; d >= 0; --d) {
        offset += index % args_.out_size[d] * stride[d];
        index /= args_.out_size[d];
      }
      const int64_t left = args_.out_size[last] - inner;
      const int64_t run = left < n_ - done ? left : n_ - done;
      const M* from = data + offset + inner * stride[last];
      for (int64_t i = 0; i < run; ++i) to[done + i] = to_float(from[i * stride[last]]);
      done += run;
    }
  }

  /// Draw number `draw` of this sample, or the noise that the caller gave.
  const T* gaussian(const void* given, T draw, T* scratch) {
    if (given) return static_cast<const T*>(given) + base_;
    const uint64_t seed = static_cast<uint64_t>(args_.keys[2 * sample_]);
    const uint64_t blocks_of_draw = static_cast<uint64_t>((args_.numel + 3) / 4);
    const uint64_t block = static_cast<uint64_t>(args_.keys[2 * sample_ + 1]) +
                           static_cast<uint64_t>(draw) * blocks_of_draw + begin_ / 4;
    if constexpr (sizeof(T) == sizeof(float)) {
      normals(seed, block, n_, scratch);
    } else {  // the same float32 draws, widened: a seed means one path, whatever the precision
      alignas(64) float single[kTile];
      normals(seed, block, n_, single);
      for (int64_t i = 0; i < n_; ++i) scratch[i] = single[i];
    }
    return scratch;
  }

  const StepArgs& args_;
  const Row<T>& row_;
  const int64_t sample_;
  const T* weights_;
  int64_t begin_, n_, base_;
  const T *output_ = nullptr, *quantity_ = nullptr, *noise_ = nullptr, *previous_noise_ = nullptr;
  alignas(64) T outputs_[kMaxOutputs][kTile];
  alignas(64) T mixed_[kTile];
  alignas(64) T clipped_[kTile];
  alignas(64) T fresh_[kTile];
  alignas(64) T earlier_[kTile];
  alignas(64) T anchor_[kTile];
  alignas(64) T memory_[kTile];
};

}  // namespace
}  // namespace fastdiff
