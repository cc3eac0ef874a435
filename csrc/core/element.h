// The update of one row, written once for every backend.
//
// A backend supplies `Tile`: a run of elements of one sample, its operands and the way in which
// scaled operands are summed (in registers on a GPU, in L1 on a CPU). The order of the terms below
// is the order of the roundings, so every backend rounds alike.
#pragma once

#include "core/math.h"
#include "core/row.h"

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
  kZ = 16,
  kZPrev = 32,
  kH = 64,  // and the three bits above it: one for each slot
};

/// Which coefficients of a row are not zero: what it reads, decided once for many tiles.
struct Use {
  uint32_t p, c, d, e;

  FD_MEMBER bool model() const { return (p | c | d | e) & kO; }
  FD_MEMBER bool quantity() const { return (c | d | e) & kM; }
  FD_MEMBER bool noise() const { return (c | d) & kZ; }
  FD_MEMBER bool previous_noise() const { return (c | d) & kZPrev; }
  FD_MEMBER bool saved() const { return (c & kS) || d; }
  FD_MEMBER bool slot(int k) const { return (c | d) & (kH << k); }
};

template <class T>
FD_HD uint32_t use_of(const Mixture<T>& k) {
  uint32_t use = (k.x != 0 ? +kX : 0) | (k.s != 0 ? +kS : 0) | (k.m != 0 ? +kM : 0) |
                 (k.o != 0 ? +kO : 0) | (k.z != 0 ? +kZ : 0) | (k.z_prev != 0 ? +kZPrev : 0);
  for (int slot = 0; slot < kHistory; ++slot) use |= k.h[slot] != 0 ? kH << slot : 0;
  return use;
}

template <class T>
FD_HD Use use_of(const Row<T>& r) {
  const uint32_t p = (r.p_x != 0 ? +kX : 0) | (r.p_o != 0 ? +kO : 0);
  const uint32_t e = (r.e_x != 0 ? +kX : 0) | (r.e_m != 0 ? +kM : 0) | (r.e_o != 0 ? +kO : 0);
  return {p, use_of(r.c), use_of(r.d), e};
}

/// k.x x + k.s s + k.m m + k.o o + sum_j k.h[j] h_j + k.z z + k.z_prev z_prev; an operand whose
/// coefficient is zero is not touched.
template <class Sum, class T, class Tile>
FD_HD void add_mixture(Sum& sum, const Mixture<T>& k, uint32_t use, const Tile& tile) {
  if (use & kX) sum.add(k.x, tile.x());
  if (use & kS) sum.add(k.s, tile.saved());
  if (use & kM) sum.add(k.m, tile.quantity());
  if (use & kO) sum.add(k.o, tile.output());
  for (int slot = 0; slot < kHistory; ++slot) {
    if (use & (kH << slot)) sum.add(k.h[slot], tile.history(slot));
  }
  if (use & kZ) sum.add(k.z, tile.noise());
  if (use & kZPrev) sum.add(k.z_prev, tile.previous_noise());
}

/// Brings in what does not lie ready: the model's outputs and the noise that the row reads.
template <class Tile>
FD_HD void fetch(const Use& use, Tile& tile) {
  if (use.model()) tile.fetch_outputs();
  if (use.noise()) tile.draw_noise();
  if (use.previous_noise()) tile.draw_previous_noise();
}

/// One row on one tile:
///   o  = sum_g w_g out_g                      guidance
///   m  = clip(p_x x + p_o o)                  the quantity the solver works in
///   x' = c . (x, s, m, o, h, z, z_prev)       next point to evaluate the model at
///   s' = d . (x, s, m, o, h, z, z_prev)       saved anchor
///   h  = e . (x, m, o)                        into ring slot r.slot
///   y  = in_scale x'                          next model input
template <class T, class Tile>
FD_HD void apply_row(const Row<T>& r, const Use& use, Tile& tile) {
  using Sum = typename Tile::Sum;
  if (use.model()) tile.mix_outputs();
  if (use.quantity()) {
    Sum m;
    if (use.p & kX) m.add(r.p_x, tile.x());
    if (use.p & kO) m.add(r.p_o, tile.output());
    tile.set_quantity(m, r.clip_low, r.clip_high);
  }
  Sum next, saved, memory;
  add_mixture(next, r.c, use.c, tile);
  if (use.d) add_mixture(saved, r.d, use.d, tile);
  const int slot = static_cast<int>(r.slot);
  if (slot >= 0) {
    if (use.e & kX) memory.add(r.e_x, tile.x());
    if (use.e & kM) memory.add(r.e_m, tile.quantity());
    if (use.e & kO) memory.add(r.e_o, tile.output());
  }
  // Every operand is the value before the row, so all is read before anything is stored.
  if (use.d) tile.store_saved(saved);
  if (slot >= 0) tile.store_history(slot, memory);
  tile.store_next(next, r.in_scale);
}

}  // namespace fastdiff
