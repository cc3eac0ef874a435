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

template <class T>
FD_HD bool reads_model(const Row<T>& r) {
  return r.p_o != 0 || r.c.o != 0 || r.d.o != 0 || r.e_o != 0;
}

template <class T>
FD_HD bool reads_quantity(const Row<T>& r) {
  return r.c.m != 0 || r.d.m != 0 || r.e_m != 0;
}

template <class T>
FD_HD bool draws_noise(const Row<T>& r) {
  return r.c.z != 0 || r.d.z != 0;
}

template <class T>
FD_HD bool is_empty(const Mixture<T>& k) {
  bool empty = k.x == 0 && k.s == 0 && k.m == 0 && k.o == 0 && k.z == 0 && k.z_prev == 0;
  for (int slot = 0; slot < kHistory; ++slot) empty = empty && k.h[slot] == 0;
  return empty;
}

/// k.x x + k.s s + k.m m + k.o o + sum_j k.h[j] h_j + k.z z + k.z_prev z_prev.
/// `Sum::add` ignores a zero coefficient and then does not touch the operand.
template <class Sum, class T, class Tile>
FD_HD void add_mixture(Sum& sum, const Mixture<T>& k, Tile& tile) {
  sum.add(k.x, tile.x());
  sum.add(k.s, tile.saved());
  sum.add(k.m, tile.quantity());
  sum.add(k.o, tile.output());
  for (int slot = 0; slot < kHistory; ++slot) {
    if (k.h[slot] != 0) sum.add(k.h[slot], tile.history(slot));
  }
  sum.add(k.z, tile.noise());
  sum.add(k.z_prev, tile.previous_noise());
}

/// One row on one tile:
///   o  = sum_g w_g out_g                      guidance
///   m  = clip(p_x x + p_o o)                  the quantity the solver works in
///   x' = c . (x, s, m, o, h, z, z_prev)       next point to evaluate the model at
///   s' = d . (x, s, m, o, h, z, z_prev)       saved anchor
///   h  = e . (x, m, o)                        into ring slot r.slot
///   y  = in_scale x'                          next model input
template <class T, class Tile>
FD_HD void apply_row(const Row<T>& r, Tile& tile) {
  using Sum = typename Tile::Sum;
  if (reads_model(r)) tile.mix_outputs();
  if (reads_quantity(r)) {
    Sum m;
    m.add(r.p_x, tile.x());
    m.add(r.p_o, tile.output());
    tile.set_quantity(m, r.clip_low, r.clip_high);
  }
  if (draws_noise(r)) tile.draw_noise();
  if (r.c.z_prev != 0 || r.d.z_prev != 0) tile.draw_previous_noise();

  Sum next;
  add_mixture(next, r.c, tile);
  const bool saves = !is_empty(r.d);
  Sum saved;
  if (saves) add_mixture(saved, r.d, tile);
  const bool remembers = r.slot >= 0;
  Sum memory;
  if (remembers) {
    memory.add(r.e_x, tile.x());
    memory.add(r.e_m, tile.quantity());
    memory.add(r.e_o, tile.output());
  }
  // Every operand is the value before the row: the stores come last, x' after all that reads x.
  tile.store(next, saved, saves, memory, remembers ? static_cast<int>(r.slot) : -1, r.in_scale);
}

}  // namespace fastdiff
