// The numbers of torch.randn on the CPU, faster: MT19937, and Box-Muller on blocks of sixteen of
// its words with the logarithm and the sines of Cephes (Moshier 1992), as torch's x86 builds
// evaluate them. Which product is fused into which sum is part of the result, so every fma is
// written out; whether this torch does the same is probed before it is relied on.
#pragma once

#include "core/launch.h"
#include "core/math.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

constexpr int kMersenneShift = 397;

/// The next kMersenneWords words of state, in place. A word depends on ones at least 227 later, or
/// as much earlier: the loops are vector loops.
void twist(uint32_t* s) {
  const auto mixed = [](uint32_t high, uint32_t low) {
    const uint32_t joined = (high & 0x80000000u) | (low & 0x7fffffffu);
    return (joined >> 1) ^ ((low & 1u) ? 0x9908b0dfu : 0u);
  };
  constexpr int n = kMersenneWords, m = kMersenneShift;
#pragma GCC ivdep
  for (int i = 0; i < n - m; ++i) s[i] = s[i + m] ^ mixed(s[i], s[i + 1]);
#pragma GCC ivdep
  for (int i = n - m; i < n - 1; ++i) s[i] = s[i + m - n] ^ mixed(s[i], s[i + 1]);
  s[n - 1] = s[m - 1] ^ mixed(s[n - 1], s[0]);
}

/// The next n words; without `out` they are passed over.
void mersenne_words(Mersenne& engine, uint32_t* out, int64_t n) {
  while (n > 0) {
    if (engine.left == 0) {
      twist(engine.state);
      engine.next = 0, engine.left = kMersenneWords;
    }
    const int count = n < engine.left ? static_cast<int>(n) : engine.left;
    const uint32_t* from = engine.state + engine.next;
    engine.next += count, engine.left -= count, n -= count;
    if (out == nullptr) continue;
#pragma GCC ivdep
    for (int i = 0; i < count; ++i) {
      uint32_t y = from[i];
      y ^= y >> 11;
      y ^= (y << 7) & 0x9d2c5680u;
      y ^= (y << 15) & 0xefc60000u;
      out[i] = y ^ (y >> 18);
    }
    out += count;
  }
}

/// log of u in [2^-24, 1]: u = 2^e f with f in [1/sqrt2, sqrt2).
FD_HD float cephes_log(float u) {
  const float P[] = {3.3333331174e-1f,  -2.4999993993e-1f, 2.0000714765e-1f,
                     -1.6668057665e-1f, 1.4249322787e-1f,  -1.2420140846e-1f,
                     1.1676998740e-1f,  -1.1514610310e-1f, 7.0376836292e-2f};
  const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  const uint32_t bits = bit_cast<uint32_t>(u);
  const float half = bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);  // f or f / 2
  const bool low = half < 0.707106781186547524f;
  const float e = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126 - low);
  const float r = (half - 1.0f) + select(low, half, 0.0f), z = r * r;
  const float tail = fma_(polynomial(P, r) * r, z, e * ln2_low);
  return fma_(e, ln2_high, r + fma_(z, -0.5f, tail));
}

/// Sine and cosine of x in [0, 2 pi], reduced by the quarter turns that are nearest to it.
FD_HD SinCos<float> cephes_sincos(float x) {
  const float S[] = {-1.6666654611e-1f, 8.3321608736e-3f, -1.9515295891e-4f};
  const float C[] = {4.166664568298827e-2f, -1.388731625493765e-3f, 2.443315711809948e-5f};
  const int32_t quadrant = (static_cast<int32_t>(x * 1.27323954473516f) + 1) >> 1;
  const float octant = static_cast<float>(2 * quadrant);
  x = fma_(octant, -0.78515625f, x);
  x = fma_(octant, -2.4187564849853515625e-4f, x);
  x = fma_(octant, -3.77489497744594108e-8f, x);
  const float z = x * x;
  const float sine = fma_(polynomial(S, z) * z, x, x);
  const float cosine = fma_(polynomial(C, z) * z, z, -(z * 0.5f)) + 1.0f;
  return rotate(sine, cosine, quadrant);
}

/// A word as a number in [0, 1) of 24 bits.
FD_HD float unit_of_24(uint32_t w) {
  return static_cast<float>(static_cast<int32_t>(w & 0xffffffu)) * 0x1p-24f;
}

/// Blocks of sixteen words, in place: eight radii and eight angles become eight normals of the
/// cosine and eight of the sine.
void mersenne_normals(float* words, int64_t first, int64_t last) {
  constexpr int64_t kAtOnce = 8;  // blocks, for whole vectors
  alignas(64) uint32_t radius[8 * kAtOnce] = {}, angle[8 * kAtOnce] = {};
  alignas(64) float cosine[8 * kAtOnce], sine[8 * kAtOnce];
  for (; first < last; first += kAtOnce) {
    float* const at = words + 16 * first;
    const int count = static_cast<int>(last - first < kAtOnce ? last - first : kAtOnce);
    for (int k = 0; k < count; ++k) {
      memcpy(radius + 8 * k, at + 16 * k, 8 * sizeof(*radius));
      memcpy(angle + 8 * k, at + 16 * k + 8, 8 * sizeof(*angle));
    }
#pragma GCC ivdep
    for (int i = 0; i < 8 * kAtOnce; ++i) {
      const float r = sqrt_(-2.0f * cephes_log(1.0f - unit_of_24(radius[i])));
      const SinCos<float> a = cephes_sincos(6.283185307179586f * unit_of_24(angle[i]));
      cosine[i] = r * a.cos + 0.0f;  // no -0
      sine[i] = r * a.sin + 0.0f;
    }
    for (int k = 0; k < count; ++k) {
      memcpy(at + 16 * k, cosine + 8 * k, 8 * sizeof(*cosine));
      memcpy(at + 16 * k + 8, sine + 8 * k, 8 * sizeof(*sine));
    }
  }
}

}  // namespace
}  // namespace fastdiff
