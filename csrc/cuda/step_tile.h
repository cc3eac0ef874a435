// What a row does to a run of consecutive elements of one sample, in the registers of a thread.
#pragma once

#include <type_traits>

#include "core/dispatch.h"
#include "core/element.h"
#include "core/normal.h"
#include "cuda/access.h"
#include "cuda/torch_noise.h"

namespace fastdiff::cuda {

/// Elements of a thread: one 16-byte access of the state. More would cost registers (spills at 8
/// floats), and with them the warps whose loads are in flight at the same time.
template <class T>
constexpr int kRun = 16 / static_cast<int>(sizeof(T));

/// The shape of a launch, decided on the host. Blocks are numbered along x: over (sample, part of
/// the sample), or, where samples are small, over groups of whole samples.
struct StepPlan {
  int32_t threads;             // of a block
  int32_t runs;                // of a thread, one after the other
  int32_t samples_per_block;   // more than one: a group
  int32_t threads_per_sample;  // in a group
  int64_t blocks_per_sample;   // else
  int64_t blocks;
  bool common;       // no more is bound than Common has
  bool wide_state;   // 16-byte accesses of all that is of the state's dtype
  bool wide_output;  // of the model's outputs and of gain
  bool wide_sample;  // of x_in
  bool wide_next;    // of x_out
  bool wide_input;   // of model_input
};

/// What may be bound to a launch. What cannot be takes no registers, which are what limits the
/// loads in flight.
struct Everything {
  static constexpr bool kAll = true;
  static constexpr int kOutputs = kMaxOutputs, kSlots = kHistory;
  FD_MEMBER static Use used(const Use& use) { return use; }
};
/// The state in place, two outputs that lie contiguous, two slots of history and noise from the
/// keys: most solvers, with guidance.
struct Common {
  static constexpr bool kAll = false;
  static constexpr int kOutputs = 2, kSlots = 2;
  FD_MEMBER static Use used(Use use) {
    use.c &= ~kS & ~(kH << 2) & ~(kH << 3);
    use.d = 0;
    use.gain_operand = use.known = use.dynamic = use.shown = false;
    return use;
  }
};

/// A row that asks for what is not bound cannot raise on a device: it makes its sample NaN.
template <class T>
FD_HD bool is_bound(const StepArgs& args, const Row<T>& row, const Use& use) {
  int slots = static_cast<int>(row.slot) + 1;
  for (int k = 0; k < kHistory; ++k) slots = use.slot(k) && k >= slots ? k + 1 : slots;
  return row.slot >= -1 && row.slot < kHistory && slots <= args.slots &&
         (!use.saved() || args.saved) && (!use.known || (args.known && args.mask)) &&
         (!use.model() || args.view[0].data) && (!use.gain_operand || args.has_gain) &&
         (!use.dynamic || args.threshold) && has_draw(args, row, use);
}

/// Where element `index` of a strided sample lies.
FD_RARE int64_t place_of(const StepArgs& args, const int64_t* stride, int64_t index) {
  int64_t place = 0;
  for (int d = args.out_dims - 1; d >= 0; --d) {
    place += index % args.out_size[d] * stride[d];
    index /= args.out_size[d];
  }
  return place;
}

template <class T, int E, class Bound, class Memory>
class ThreadTile {
 public:
  using Sum = RunSum<T, E>;
  using Values = Run<T, E>;

  FD_MEMBER ThreadTile(const StepArgs& args, const StepPlan& plan, const Row<T>& row,
                       const Use& use, int64_t sample, int64_t row_index, int64_t begin)
      : args_(args), plan_(plan), row_(row), use_(use), sample_(sample), begin_(begin) {
    base_ = sample * args.numel + begin;
    n_ = args.numel - begin < E ? static_cast<int>(args.numel - begin) : E;
    weights_ = weights_at(args.weights, row_index);
    second_weights_ = Bound::kAll ? weights_at(args.second_weights, row_index) : nullptr;
  }

  /// Everything that the row reads from memory is asked for before any of it is used.
  FD_MEMBER void load() {
    if (use_.model()) load_outputs();
    load_x();
    if ((use_.c | use_.d) & kS) load_state(args_.saved, saved_);
    FD_UNROLL
    for (int k = 0; k < Bound::kSlots; ++k) {
      if (use_.slot(k)) load_state(slot(k), history_[k]);
    }
    if (use_.known) load_state(args_.known, known_), load_state(args_.mask, mask_);
    if (use_.noise() && given(args_.z)) load_state(args_.z, noise_);
    if (use_.previous_noise() && given(args_.z_prev)) load_state(args_.z_prev, previous_noise_);
    fetch(use_, *this);
  }

  /// |m| before clipping, for the dynamic threshold.
  FD_MEMBER Values magnitudes() {
    if (use_.p & kO) load_outputs(), mix_outputs();
    if (use_.p & kX) load_x();
    Sum m;
    add_x0(m, row_, use_, *this);
    FD_UNROLL
    for (int i = 0; i < E; ++i) m.value.v[i] = m.value.v[i] < 0 ? -m.value.v[i] : m.value.v[i];
    return m.value;
  }

  FD_MEMBER void fill_nan() const {
    Values nan;
    FD_UNROLL
    for (int i = 0; i < E; ++i) nan.v[i] = static_cast<T>(NAN);
    store_x(nan);
  }

  // Called by fetch().
  FD_MEMBER void fetch_outputs() {}  // on their way since load()
  FD_MEMBER void draw_noise() {
    if (!given(args_.z)) draw(row_.draw, noise_);
    scaled_noise_ = noise_;
  }
  FD_MEMBER void draw_previous_noise() {
    if (!given(args_.z_prev)) draw(row_.draw - 1, previous_noise_);
  }
  FD_MEMBER void scale_noise() {
    if (!use_.noise()) return;
    Values gain = {};
    if (use_.gain_operand) load_view(kGain, args_.output, plan_.wide_output, gain);
    FD_UNROLL
    for (int i = 0; i < E; ++i) scaled_noise_.v[i] = noise_.v[i] * gain_of(row_, gain.v[i]);
  }

  // Called by apply_row().
  FD_MEMBER const Values& x() const { return x_; }
  FD_MEMBER const Values& saved() const { return saved_; }
  FD_MEMBER const Values& history(int k) const { return history_[k < Bound::kSlots ? k : 0]; }
  FD_MEMBER const Values& noise() const { return noise_; }
  FD_MEMBER const Values& scaled_noise() const { return scaled_noise_; }
  FD_MEMBER const Values& previous_noise() const { return previous_noise_; }
  FD_MEMBER const Values& known() const { return known_; }
  FD_MEMBER const Values& mask() const { return mask_; }
  FD_MEMBER const Values& output() const { return output_; }
  FD_MEMBER const Values& second_output() const { return second_output_; }
  FD_MEMBER const Values& x0() const { return x0_; }
  FD_MEMBER T threshold() const { return static_cast<const T*>(args_.threshold)[sample_]; }

  FD_MEMBER void mix_outputs() { output_ = mix(weights_); }
  FD_MEMBER void mix_outputs_again() { second_output_ = mix(second_weights_); }
  FD_MEMBER void set_x0(const Sum& m, T low, T high) {
    FD_UNROLL
    for (int i = 0; i < E; ++i) x0_.v[i] = clip<T>(m.value.v[i], low, high);
  }
  FD_MEMBER void set_x0(const Sum& m, T threshold) {
    set_x0(m, -threshold, threshold);
    FD_UNROLL
    for (int i = 0; i < E; ++i) x0_.v[i] /= threshold;
  }
  FD_MEMBER const StepArgs& args() const { return args_; }
  FD_MEMBER void store(const Values& v, void* like_x) const { store_state(v, like_x); }
  FD_MEMBER void store_history(int k, const Sum& h) const { store_state(h.value, slot(k)); }
  FD_MEMBER void store_next(const Sum& next, T in_scale) const {
    store_x(next.value);
    if (in_scale == 0 || !args_.model_input) return;
    Values y;
    FD_UNROLL
    for (int i = 0; i < E; ++i) y.v[i] = next.value.v[i] * in_scale;
    store_as(args_.input, y, plan_.wide_input, args_.model_input, args_.n_outputs);
  }

 private:
  /// Whether noise comes from the caller.
  FD_MEMBER static bool given(const void* noise) { return Bound::kAll && noise; }
  FD_MEMBER const T* weights_at(const void* weights, int64_t row) const {
    if (!weights) return nullptr;
    return static_cast<const T*>(weights) + row * args_.weight_row_stride +
           sample_ * args_.weight_sample_stride;
  }
  FD_MEMBER void* slot(int k) const {
    return static_cast<T*>(args_.history) + k * args_.batch * args_.numel;
  }
  FD_MEMBER void load_state(const void* from, Values& to) const {
    Memory::template load<T, E>(static_cast<const T*>(from) + base_, n_, plan_.wide_state, to);
  }
  FD_MEMBER void store_state(const Values& from, void* to) const {
    Memory::template store<T, E>(from, n_, plan_.wide_state, static_cast<T*>(to) + base_);
  }

  FD_MEMBER void load_x() {
    if (Bound::kAll && args_.has_x_in) {
      if (use_.state()) load_view(kXIn, args_.sample, plan_.wide_sample, x_);
    } else {
      load_state(args_.x, x_);
    }
  }
  FD_MEMBER void store_x(const Values& from) const {
    if (Bound::kAll && args_.next != args_.state) {
      store_as(args_.next, from, plan_.wide_next, args_.x_out, 1);
    } else {
      store_state(from, args_.x_out);
    }
  }
  /// `copies` times, one batch after the other.
  FD_MEMBER void store_as(DType dtype, const Values& from, bool wide, void* to, int copies) const {
    with_dtype(dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      Run<M, E> narrow;
      FD_UNROLL
      for (int i = 0; i < E; ++i) from_float(from.v[i], narrow.v[i]);
      for (int g = 0; g < copies; ++g) {
        M* at = static_cast<M*>(to) + g * args_.batch * args_.numel + base_;
        Memory::template store<M, E>(narrow, n_, wide, at);
      }
    });
  }

  FD_MEMBER bool reads(int g, const T* weights) const { return weights ? weights[g] != 0 : g == 0; }

  FD_MEMBER void load_outputs() {
    FD_UNROLL
    for (int g = 0; g < Bound::kOutputs; ++g) {
      if (g < args_.n_outputs && ((use_.mix() && reads(g, weights_)) ||
                                  (use_.second_mix() && reads(g, second_weights_)))) {
        load_view(g, args_.output, plan_.wide_output, outputs_[g]);
      }
    }
  }

  FD_MEMBER void load_view(int k, DType dtype, bool wide, Values& to) const {
    const View& view = args_.view[k];
    with_dtype(dtype, [&](auto tag) {
      using M = typename decltype(tag)::type;
      const M* data = static_cast<const M*>(view.data) + sample_ * view.sample_stride;
      if (!Bound::kAll || (args_.out_dims == 1 && view.stride[0] == 1)) {
        Run<M, E> raw;
        Memory::template load<M, E>(data + begin_, n_, wide, raw);
        FD_UNROLL
        for (int i = 0; i < E; ++i) to.v[i] = to_float(raw.v[i]);
      } else {
        gather(data, view.stride, to);
      }
    });
  }

  template <class M>
  FD_MEMBER void gather(const M* data, const int64_t* stride, Values& to) const {
    FD_UNROLL
    for (int i = 0; i < E; ++i) {
      to.v[i] = i < n_ ? to_float(data[place_of(args_, stride, begin_ + i)]) : T(0);
    }
  }

  FD_MEMBER Values mix(const T* weights) const {
    if (!weights) return outputs_[0];
    Sum sum;
    FD_UNROLL
    for (int g = 0; g < Bound::kOutputs; ++g) {
      if (g < args_.n_outputs && weights[g] != 0) sum.add(weights[g], outputs_[g]);
    }
    return sum.value;
  }

  /// Draw `number` of this sample.
  FD_MEMBER void draw(T number, Values& to) const {
    const uint64_t seed = static_cast<uint64_t>(args_.keys[2 * sample_]);
    const uint64_t offset = static_cast<uint64_t>(args_.keys[2 * sample_ + 1]);
    if (Bound::kAll && args_.torch_threads > 0) {
      const int64_t first = (args_.torch_shared ? sample_ * args_.numel : 0) + begin_;
      const int64_t event = args_.torch_shared ? args_.batch * args_.numel : args_.numel;
      const uint64_t before =
          (static_cast<uint64_t>(number) - 1) * torch_blocks_of_draw(event, args_.torch_threads);
      for (int i = 0; i < E; ++i) {
        to.v[i] = torch_normal(seed, offset + before, first + i, args_.torch_threads);
      }
      return;
    }
    const uint64_t blocks_of_draw = static_cast<uint64_t>((args_.numel + 3) / 4);
    const uint64_t block =
        offset + static_cast<uint64_t>(number) * blocks_of_draw + static_cast<uint64_t>(begin_ / 4);
    const Words w = philox_block(seed, block);
    if constexpr (E == 4) {
      const NormalPair<float> p = normal_pair(w.w0, w.w1), q = normal_pair(w.w2, w.w3);
      to.v[0] = p.first, to.v[1] = p.second, to.v[2] = q.first, to.v[3] = q.second;
    } else {
      const bool second = begin_ & 2;  // half of the block
      const NormalPair<float> p = normal_pair(second ? w.w2 : w.w0, second ? w.w3 : w.w1);
      to.v[0] = begin_ & 1 ? p.second : p.first;
      if constexpr (E == 2) to.v[1] = p.second;
    }
  }

  const StepArgs& args_;
  const StepPlan& plan_;
  const Row<T>& row_;
  const Use& use_;
  const int64_t sample_, begin_;
  int64_t base_;
  int n_;
  const T *weights_, *second_weights_;
  Values outputs_[Bound::kOutputs];
  Values x_, saved_, history_[Bound::kSlots], noise_, scaled_noise_, previous_noise_, known_, mask_;
  Values output_, second_output_, x0_;
};

}  // namespace fastdiff::cuda
