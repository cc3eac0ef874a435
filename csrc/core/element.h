// The update of one row, written once for every backend.
//
// A backend supplies `Tile`: a run of elements of one sample, its operands and the way in which
// scaled operands are summed (in registers on a GPU, in L1 on a CPU). The order of the terms below
// is the order of the roundings, so every backend rounds alike.
#pragma once

#include "core/launch.h"
#include "core/math.h"

namespace fastdiff {

/// Clips to [low, high]; NaN stays NaN.
template <class T>
FD_HD T clip(T value, T low, T high) {
  return value < low ? low : (value > high ? high : value);
}

/// The operands of a mixture, one bit each.
enum Operand : uint32_t {
  kX = 1,
  kS = 2,
  kM = 4,
  kO = 8,
  kU = 16,
  kZ = 32,
  kZPrev = 64,
  kH = 128,  // and the three bits above it: one for each slot
};

/// Which coefficients of a row are not zero: what it reads, decided once for many tiles.
struct Use {
  uint32_t p, c, d, e;
  bool gain;  // the draw is scaled, element by element if `gain_operand`
  bool gain_operand;
  bool known;    // part of the result is known data
  bool dynamic;  // m is clipped to the sample's own threshold
  bool shown;    // m is written for the caller

  FD_MEMBER bool state() const { return (p | c | d | e) & kX; }
  FD_MEMBER bool mix() const { return (p | c | d | e) & kO; }
  FD_MEMBER bool second_mix() const { return (c | d | e) & kU; }
  FD_MEMBER bool model() const { return mix() || second_mix() || gain_operand; }
  FD_MEMBER bool x0() const { return shown || ((c | d | e) & kM); }
  FD_MEMBER bool noise() const { return ((c | d) & kZ) || known; }
  FD_MEMBER bool previous_noise() const { return (c | d) & kZPrev; }
  FD_MEMBER bool saved() const { return (c & kS) || d; }
  FD_MEMBER bool slot(int k) const { return (c | d) & (kH << k); }
};

template <class T>
FD_HD uint32_t use_of(const Mixture<T>& k) {
  uint32_t use = (k.x != 0 ? +kX : 0) | (k.s != 0 ? +kS : 0) | (k.m != 0 ? +kM : 0) |
                 (k.o != 0 ? +kO : 0) | (k.u != 0 ? +kU : 0) | (k.z != 0 ? +kZ : 0) |
                 (k.zp != 0 ? +kZPrev : 0);
  for (int slot = 0; slot < kHistory; ++slot) use |= k.h[slot] != 0 ? kH << slot : 0;
  return use;
}

/// What a row needs of these operands. m that nobody reads is not computed.
template <class T>
FD_HD Use use_of(const StepArgs& args, const Row<T>& r) {
  const uint32_t e = (r.e_x != 0 ? +kX : 0) | (r.e_m != 0 ? +kM : 0) | (r.e_o != 0 ? +kO : 0) |
                     (r.e_u != 0 ? +kU : 0);
  const uint32_t c = use_of(r.c), d = use_of(r.d);
  const bool shown = args.x0_out && (r.p_x != 0 || r.p_o != 0);
  const bool m = shown || ((c | d | e) & kM);
  const uint32_t p = m ? (r.p_x != 0 ? +kX : 0) | (r.p_o != 0 ? +kO : 0) : 0;
  return {p,
          c,
          d,
          e,
          r.g_0 != 0 || r.g_1 != 0,
          r.g_1 != 0,
          r.k_known != 0 || r.k_z != 0,
          r.dynamic > 0 && m,
          shown};
}

/// Whether the row's number of the draw can become an unsigned integer, where the kernel draws z or
/// the draw before it.
template <class T>
FD_HD bool has_draw(const StepArgs& args, const Row<T>& r, const Use& use) {
  const bool fresh = use.noise() && !args.z, previous = use.previous_noise() && !args.z_prev;
  constexpr T kMost = static_cast<T>(1LL << 53);
  return !(fresh || previous) || (r.draw >= (previous ? T(1) : T(0)) && r.draw <= kMost);
}

/// k.x x + k.s s + k.m m + k.o o + k.u u + sum_j k.h[j] h_j + k.z z~ + k.zp z_prev; an operand
/// whose coefficient is zero is not touched.
template <class Sum, class T, class Tile>
FD_HD void add_mixture(Sum& sum, const Mixture<T>& k, uint32_t use, const Tile& tile) {
  if (use & kX) sum.add(k.x, tile.x());
  if (use & kS) sum.add(k.s, tile.saved());
  if (use & kM) sum.add(k.m, tile.x0());
  if (use & kO) sum.add(k.o, tile.output());
  if (use & kU) sum.add(k.u, tile.second_output());
  for (int slot = 0; slot < kHistory; ++slot) {
    if (use & (kH << slot)) sum.add(k.h[slot], tile.history(slot));
  }
  if (use & kZ) sum.add(k.z, tile.scaled_noise());
  if (use & kZPrev) sum.add(k.zp, tile.previous_noise());
}

/// Brings in what does not lie ready: the model's outputs and the noise that the row reads.
template <class Tile>
FD_HD void fetch(const Use& use, Tile& tile) {
  if (use.model()) tile.fetch_outputs();
  if (use.noise()) tile.draw_noise();
  if (use.previous_noise()) tile.draw_previous_noise();
  if (use.gain) tile.scale_noise();
}

/// What the draw of one element is multiplied by.
template <class T>
FD_HD T gain_of(const Row<T>& r, T operand) {
  return exp_(fma_(r.g_1, operand, r.g_0));
}

/// p_x x + p_o o, before clipping.
template <class Sum, class T, class Tile>
FD_HD void add_x0(Sum& m, const Row<T>& r, const Use& use, const Tile& tile) {
  if (use.p & kX) m.add(r.p_x, tile.x());
  if (use.p & kO) m.add(r.p_o, tile.output());
}

/// One row on one tile:
///   o  = sum_g w_g out_g                      guidance
///   u  = sum_g v_g out_g                      a second mix
///   m  = clip(p_x x + p_o o)                  x0 as the solver takes it
///   x' = c . (x, s, m, o, u, h, z~, z_prev)   next point to evaluate the model at
///   x' = mask (k_known known + k_z z) + (1 - mask) x'
///   s' = d . (x, s, m, o, u, h, z~, z_prev)   saved anchor
///   h  = e . (x, m, o, u)                     into ring slot r.slot
///   y  = in_scale x'                          next model input
template <class T, class Tile>
FD_HD void apply_row(const Row<T>& r, const Use& use, Tile& tile) {
  using Sum = typename Tile::Sum;
  if (use.mix()) tile.mix_outputs();
  if (use.second_mix()) tile.mix_outputs_again();
  if (use.x0()) {
    Sum m;
    add_x0(m, r, use, tile);
    if (use.dynamic) {
      tile.set_x0(m, tile.threshold());
    } else {
      tile.set_x0(m, r.clip_low, r.clip_high);
    }
  }
  Sum next, saved, memory;
  add_mixture(next, r.c, use.c, tile);
  if (use.known) {
    Sum known;
    if (r.k_known != 0) known.add(r.k_known, tile.known());
    if (r.k_z != 0) known.add(r.k_z, tile.noise());
    next.blend(tile.mask(), known);
  }
  if (use.d) add_mixture(saved, r.d, use.d, tile);
  const int slot = static_cast<int>(r.slot);
  if (slot >= 0) {
    if (use.e & kX) memory.add(r.e_x, tile.x());
    if (use.e & kM) memory.add(r.e_m, tile.x0());
    if (use.e & kO) memory.add(r.e_o, tile.output());
    if (use.e & kU) memory.add(r.e_u, tile.second_output());
  }
  // Every operand is the value before the row, so all is read before anything is stored.
  if (use.shown) tile.store(tile.x0(), tile.args().x0_out);
  if (use.d) tile.store(saved.value, tile.args().saved);
  if (slot >= 0) tile.store_history(slot, memory);
  tile.store_next(next, r.in_scale);
}

}  // namespace fastdiff
