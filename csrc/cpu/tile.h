// A tile on the CPU: up to kTile consecutive elements of one sample. What does not lie ready in
// memory (outputs of another dtype or with strides, noise) is brought into L1 for the whole tile;
// then the row runs over it block by block in registers.
#pragma once

#include <type_traits>

#include "core/dispatch.h"
#include "core/element.h"
#include "cpu/noise.h"
#include "cpu/pack.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

/// Pointers to the operands of one tile; null: the row does not read it.
template <class T>
struct Operands {
  const StepArgs* args;
  int64_t base;  // of the tile in all that is like x
  const T* output[kMaxOutputs];
  const T *weights, *second_weights;  // of the outputs; null: the first one as it is
  int n_outputs;
  const T* x;
  const T* saved;
  T *next, *history[kHistory];  // next: where x' goes
  const T *noise, *scaled_noise, *previous_noise;
  const T *known, *mask;
  T threshold;
  T* input[kMaxOutputs];  // where y goes in the same pass; null: not there
};

/// The elements [at, at + kLanes) of a tile, as apply_row sees them.
template <class T, class V, int kCount>
class Block {
 public:
  using Sum = PackSum<T, V, kCount>;
  using Values = Pack<T, V, kCount>;

  FD_MEMBER Block(const Operands<T>& operands, int64_t at) : p_(operands), at_(at) {}

  FD_MEMBER const T* x() const { return p_.x + at_; }
  FD_MEMBER const T* saved() const { return p_.saved + at_; }
  FD_MEMBER const T* history(int slot) const { return p_.history[slot] + at_; }
  FD_MEMBER const T* noise() const { return p_.noise + at_; }
  FD_MEMBER const T* scaled_noise() const { return p_.scaled_noise + at_; }
  FD_MEMBER const T* previous_noise() const { return p_.previous_noise + at_; }
  FD_MEMBER const T* known() const { return p_.known + at_; }
  FD_MEMBER const T* mask() const { return p_.mask + at_; }
  FD_MEMBER T threshold() const { return p_.threshold; }
  FD_MEMBER const Values& output() const { return output_; }
  FD_MEMBER const Values& second_output() const { return second_output_; }
  FD_MEMBER const Values& x0() const { return x0_; }

  FD_MEMBER void mix_outputs() { output_ = mix(p_.weights); }
  FD_MEMBER void mix_outputs_again() { second_output_ = mix(p_.second_weights); }
  FD_MEMBER void set_x0(const Sum& m, T low, T high) {
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) {
      x0_.v[j] = clip<V>(m.value.v[j], V{} + low, V{} + high);
    }
  }
  FD_MEMBER void set_x0(const Sum& m, T threshold) {
    set_x0(m, -threshold, threshold);
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) x0_.v[j] /= V{} + threshold;
  }
  FD_MEMBER const StepArgs& args() const { return *p_.args; }
  FD_MEMBER void store(const Values& v, void* like_x) const {
    v.store(static_cast<T*>(like_x) + p_.base + at_);
  }
  FD_MEMBER void store_history(int slot, const Sum& h) const {
    h.value.store(p_.history[slot] + at_);
  }
  FD_MEMBER void store_next(const Sum& next, T in_scale) const {
    next.value.store(p_.next + at_);
    if (!p_.input[0]) return;
    Values y;
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) y.v[j] = next.value.v[j] * in_scale;
    for (int g = 0; g < p_.n_outputs; ++g) y.store(p_.input[g] + at_);
  }

 private:
  FD_MEMBER Values mix(const T* weights) const {
    if (!weights) return Values::load(p_.output[0] + at_);
    Sum sum;
    for (int g = 0; g < p_.n_outputs; ++g) {
      if (weights[g] != 0) sum.add(weights[g], p_.output[g] + at_);
    }
    return sum.value;
  }

  const Operands<T>& p_;
  const int64_t at_;
  Values output_ = {}, second_output_ = {}, x0_ = {};
};

template <class T>
class CpuTile {
 public:
  CpuTile(const StepArgs& args, const Row<T>& row, int64_t sample, int64_t row_index)
      : args_(args), row_(row), use_(use_of(args, row)), sample_(sample) {
    p_.args = &args;
    p_.weights = weights_at(args.weights, row_index);
    p_.second_weights = weights_at(args.second_weights, row_index);
    p_.n_outputs = args.n_outputs;
    p_.noise = p_.scaled_noise = p_.previous_noise = nullptr;
    if (use_.dynamic) p_.threshold = static_cast<const T*>(args.threshold)[sample];
    for (int g = 0; g < kMaxOutputs; ++g) p_.input[g] = nullptr;
  }

  /// Executes the row on the elements [begin, begin + n) of the sample, n <= kTile.
  void run(int64_t begin, int64_t n) {
    using Vector = std::conditional_t<sizeof(T) == 4, FloatVector, DoubleVector>;
    move_to(begin, n);
    fetch(use_, *this);
    int64_t at = blocks<Vector, kVectors>(0);
    at = blocks<Vector, 1>(at);
    blocks<T, 1>(at);
    if (writes_input() && !same_type()) {
      with_dtype(args_.input, [&](auto tag) { convert_input<typename decltype(tag)::type>(); });
    }
    if (args_.next != args_.state) {
      with_dtype(args_.next, [&](auto tag) { convert_next<typename decltype(tag)::type>(); });
    }
  }

  /// |m| before clipping of the elements [begin, begin + n), n <= kTile.
  void magnitudes(int64_t begin, int64_t n, T* to) {
    move_to(begin, n);
    if (use_.p & kO) fetch_outputs();
    for (int64_t i = 0; i < n; ++i) {
      Block<T, T, 1> block(p_, i);
      if (use_.p & kO) block.mix_outputs();
      typename Block<T, T, 1>::Sum m;
      add_x0(m, row_, use_, block);
      to[i] = m.value.v[0] < 0 ? -m.value.v[0] : m.value.v[0];
    }
  }

  // Called by fetch().
  void fetch_outputs() {
    for (int g = 0; g < args_.n_outputs; ++g) {
      const bool first = use_.mix() && (p_.weights ? p_.weights[g] != 0 : g == 0);
      const bool second =
          use_.second_mix() && (p_.second_weights ? p_.second_weights[g] != 0 : g == 0);
      if (first || second) p_.output[g] = viewed(g, args_.output, outputs_[g]);
    }
  }
  void draw_noise() { p_.noise = p_.scaled_noise = gaussian(args_.z, row_.draw, fresh_); }
  void scale_noise() {
    if (!p_.noise) return;
    const T* operand = use_.gain_operand ? viewed(kGain, args_.output, gain_) : gain_;
    for (int64_t i = 0; i < n_; ++i) {
      gain_[i] = p_.noise[i] * gain_of(row_, use_.gain_operand ? operand[i] : T(0));
    }
    p_.scaled_noise = gain_;
  }
  void draw_previous_noise() {
    p_.previous_noise = gaussian(args_.z_prev, row_.draw - 1, earlier_);
  }

 private:
  void move_to(int64_t begin, int64_t n) {
    begin_ = begin;
    n_ = n;
    base_ = sample_ * args_.numel + begin;
    const int64_t total = args_.batch * args_.numel;
    if (!args_.has_x_in)
      p_.x = static_cast<const T*>(args_.x) + base_;
    else if (use_.state())
      p_.x = viewed(kXIn, args_.sample, x_in_);
    p_.next = args_.next == args_.state ? static_cast<T*>(args_.x_out) + base_ : next_;
    p_.base = base_;
    p_.saved = static_cast<const T*>(args_.saved) + base_;
    p_.known = static_cast<const T*>(args_.known) + base_;
    p_.mask = static_cast<const T*>(args_.mask) + base_;
    for (int k = 0; k < args_.slots; ++k) {
      p_.history[k] = static_cast<T*>(args_.history) + k * total + base_;
    }
    for (int g = 0; writes_input() && same_type() && g < args_.n_outputs; ++g) {
      p_.input[g] = static_cast<T*>(args_.model_input) + g * total + base_;
    }
  }

  const T* weights_at(const void* weights, int64_t row) const {
    if (!weights) return nullptr;
    return static_cast<const T*>(weights) + row * args_.weight_row_stride +
           sample_ * args_.weight_sample_stride;
  }

  bool writes_input() const { return row_.in_scale != 0 && args_.model_input; }
  bool same_type() const { return args_.input == args_.state; }

  /// The row on whole blocks from `at` on; returns where they end.
  template <class V, int kCount>
  int64_t blocks(int64_t at) {
    constexpr int kLanes = Pack<T, V, kCount>::kLanes;
    for (; at + kLanes <= n_; at += kLanes) {
      Block<T, V, kCount> block(p_, at);
      apply_row(row_, use_, block);
    }
    return at;
  }

  /// y = in_scale x' in the model's own dtype, G times.
  template <class M>
  void convert_input() {
    M* y = static_cast<M*>(args_.model_input) + base_;
    for (int64_t i = 0; i < n_; ++i) from_float(p_.next[i] * row_.in_scale, y[i]);
    for (int g = 1; g < args_.n_outputs; ++g) {
      memcpy(y + g * args_.batch * args_.numel, y, n_ * sizeof(M));
    }
  }

  /// x' in the dtype of x_out.
  template <class M>
  void convert_next() {
    M* to = static_cast<M*>(args_.x_out) + base_;
    for (int64_t i = 0; i < n_; ++i) from_float(p_.next[i], to[i]);
  }

  /// What lies at view k, of this dtype, as T: in place or in `to`.
  const T* viewed(int k, DType dtype, T* to) const {
    const View& view = args_.view[k];
    const bool contiguous = args_.out_dims == 1 && view.stride[0] == 1;
    if (contiguous && dtype == args_.state) {
      return static_cast<const T*>(view.data) + sample_ * view.sample_stride + begin_;
    }
    with_dtype(dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      const M* data = static_cast<const M*>(view.data) + sample_ * view.sample_stride;
      if (!contiguous) return gather(data, view.stride, to);
      for (int64_t i = 0; i < n_; ++i) to[i] = to_float(data[begin_ + i]);
    });
    return to;
  }

  /// Elements begin .. begin + n of a strided sample, walked along its innermost dimension.
  template <class M>
  void gather(const M* data, const int64_t* stride, T* to) const {
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
  const Row<T> row_;  // a copy: stores to the state cannot change it, and the compiler knows
  const Use use_;
  const int64_t sample_;
  int64_t begin_, n_, base_;
  Operands<T> p_;
  alignas(64) T outputs_[kMaxOutputs][kTile];
  alignas(64) T fresh_[kTile];
  alignas(64) T earlier_[kTile];
  alignas(64) T gain_[kTile];
  alignas(64) T x_in_[kTile];
  alignas(64) T next_[kTile];
};

}  // namespace
}  // namespace fastdiff
