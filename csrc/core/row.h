// The row: what to do after one model evaluation. A solver is a table of these (fastdiff/row.py
// documents the columns; the two lists are compared by a test). All fields share the state's type,
// so that a table is one [rows, kRowWidth] tensor that can be written on the device between
// replays.
#pragma once

#include "core/macros.h"

namespace fastdiff {

constexpr int kHistory = 4;     // ring slots
constexpr int kMaxOutputs = 4;  // model outputs that guidance can mix

template <class T>
struct Mixture {  // coefficients of the operands of x' or of s'
  T x, s, m, o, u, h[kHistory], z, zp;
};

template <class T>
struct Row {
  T p_x, p_o;  // m = clip(p_x x + p_o o)
  T clip_low, clip_high;
  T dynamic;             // > 0: the quantile of |m| that is the sample's own threshold
  Mixture<T> c;          // x'
  Mixture<T> d;          // s'; all zero: s stays
  T e_x, e_m, e_o, e_u;  // what is remembered in `slot`
  T g_0, g_1;            // the draw is multiplied by exp(g_0 + g_1 gain)
  T k_known, k_z;        // where the mask is 1: x' = k_known known + k_z z
  T in_scale;            // the next model input is in_scale x'; 0: none is written
  T t_next;              // its timestep
  T slot;                // ring slot written, -1: none
  T draw;                // number of the Gaussian draw z; zp is the one before
  T live;                // 0: the sample is finished, nothing is touched
};

constexpr int kRowWidth = 40;
static_assert(sizeof(Row<float>) == kRowWidth * sizeof(float), "a row is kRowWidth numbers");
static_assert(sizeof(Row<double>) == kRowWidth * sizeof(double), "a row is kRowWidth numbers");

}  // namespace fastdiff
