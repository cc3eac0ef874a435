// Box-Muller on Philox words, in the layout of torch's stateless generator: a block of four words
// makes four float32 normals (radius from words 0 and 2, angle from words 1 and 3, cosine first)
// or two float64 normals.
#pragma once

#include "core/math.h"
#include "core/philox.h"

namespace fastdiff {

template <class T>
struct NormalPair {
  T first, second;
};

/// (R cos 2 pi u2, R sin 2 pi u2) with R = sqrt(-2 log u1), for u1, u2 in (0, 1].
template <class T>
FD_HD NormalPair<T> box_muller(T u1, T u2) {
  const T radius = sqrt_(T(-2) * log_(u1));
  const SinCos<T> angle = sincos_turns(u2);
  return {radius * angle.cos, radius * angle.sin};
}

/// A word as a float in (0, 1]: (w + 1/2) / 2^32, rounded; the lowest value is 2^-33.
FD_HD float unit_interval(uint32_t w) { return fma_(static_cast<float>(w), 0x1p-32f, 0x1p-33f); }

/// Two words as a double in (0, 1]: (high + (low + 1/2) / 2^32) / 2^32.
FD_HD double unit_interval(uint32_t high, uint32_t low) {
  const double fraction = static_cast<double>(low) * 0x1p-64 + 0x1p-65;
  return fma_(static_cast<double>(high), 0x1p-32, fraction);
}

FD_HD NormalPair<float> normal_pair(uint32_t radius_word, uint32_t angle_word) {
  return box_muller(unit_interval(radius_word), unit_interval(angle_word));
}

FD_HD NormalPair<double> normal_pair(const Words& w) {
  return box_muller(unit_interval(w.w0, w.w1), unit_interval(w.w2, w.w3));
}

}  // namespace fastdiff
