// The few elementary functions that the sampler needs, built from operations that IEEE 754 rounds
// in one way only (+, *, fma, sqrt, integer shifts). The library functions of host and device
// differ in the last bits; these do not, so a CPU and a GPU draw the same noise to the bit.
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/macros.h"

namespace fastdiff {

FD_HD float fma_(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return ::fmaf(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}
FD_HD double fma_(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return ::fma(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}
FD_HD float sqrt_(float a) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(a);
#else
  return __builtin_sqrtf(a);
#endif
}
FD_HD double sqrt_(double a) {
#if defined(__CUDA_ARCH__)
  return __dsqrt_rn(a);
#else
  return __builtin_sqrt(a);
#endif
}

template <class To, class From>
FD_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

/// `yes` or `no`, without a branch: gcc vectorises no loop in which several selects share a
/// condition, which it would turn into jumps.
template <class T>
FD_HD T select(bool condition, T yes, T no) {
#if defined(__CUDA_ARCH__)
  return condition ? yes : no;
#else
  using Bits = std::conditional_t<sizeof(T) == sizeof(uint64_t), uint64_t, uint32_t>;
  const Bits mask = Bits(0) - static_cast<Bits>(condition);
  return bit_cast<T>((bit_cast<Bits>(yes) & mask) | (bit_cast<Bits>(no) & ~mask));
#endif
}

/// Horner's scheme: c[0] + z (c[1] + z (...)).
template <class T, int N>
FD_HD T polynomial(const T (&c)[N], T z) {
  T value = c[N - 1];
  FD_UNROLL
  for (int i = N - 2; i >= 0; --i) value = fma_(value, z, c[i]);
  return value;
}

/// log(u) for normal u > 0; relative error below 1 ulp up to u = 1, also where u is next to 1.
/// u = 2^e f with f in [1/sqrt2, sqrt2); log f = r + r^2 Q(r), r = f - 1, Q minimax (Remez).
FD_HD float log_(float u) {
  const float Q[] = {-0x1.fffff8p-2f, 0x1.55555p-2f,   -0x1.000426p-2f,
                     0x1.99a3f2p-3f,  -0x1.54276ep-3f, 0x1.22719cp-3f,
                     -0x1.0f3764p-3f, 0x1.084864p-3f,  -0x1.383026p-4f};
  const float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;  // e * ln2_high is exact
  const int32_t bits = bit_cast<int32_t>(u);
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const float r = bit_cast<float>(bits - e * (1 << 23)) - 1.0f;
  const float exponent = static_cast<float>(e);
  const float tail = fma_(r * r, polynomial(Q, r), exponent * ln2_low);
  return fma_(exponent, ln2_high, tail + r);
}

/// The same in double: log f = 2 atanh(s), s = r / (2 + r), by its series (|s| < 0.172).
FD_HD double log_(double u) {
  const double A[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                      2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
  const double ln2_high = 0x1.62e42fefp-1, ln2_low = 0x1.473de6af278edp-34;
  const int64_t bits = bit_cast<int64_t>(u);
  const int64_t e = (bits - 0x3fe6a09e667f3bcdLL) >> 52;
  const double r = bit_cast<double>(bits - e * (1LL << 52)) - 1.0;
  const double s = r / (2.0 + r), z = s * s, exponent = static_cast<double>(e);
  // 2s = r - s r keeps the leading term exact where u is next to 1.
  const double tail = fma_(s * z, polynomial(A, z), exponent * ln2_low) - s * r;
  return fma_(exponent, ln2_high, tail + r);
}

/// 2^k for -126 <= k <= 127 (float).
FD_HD float power_of_two(int32_t k) { return bit_cast<float>((k + 127) << 23); }
FD_HD double power_of_two(int64_t k) { return bit_cast<double>((k + 1023) << 52); }

/// x = k log 2 + r with |r| <= log(2) / 2, after bounding x to where 2^k is a normal number (NaN to
/// its lower end). r is exact where k = 0.
template <class T, class Int>
struct Octave {
  Int k;
  T r;
};
FD_HD Octave<float, int32_t> octave_of(float x) {
  const float bounded = x > -87.0f ? (x < 88.0f ? x : 88.0f) : -87.0f;
  const float turns = bounded * 0x1.715476p+0f;
  const int32_t k = static_cast<int32_t>(turns < 0 ? turns - 0.5f : turns + 0.5f);
  const float n = static_cast<float>(k);
  return {k, fma_(n, 0x1.bd0106p-13f, fma_(n, -0x1.63p-1f, bounded))};
}
FD_HD Octave<double, int64_t> octave_of(double x) {
  const double bounded = x > -708.0 ? (x < 709.0 ? x : 709.0) : -708.0;
  const double turns = bounded * 0x1.71547652b82fep+0;
  const int64_t k = static_cast<int64_t>(turns < 0 ? turns - 0.5 : turns + 0.5);
  const double n = static_cast<double>(k);
  return {k, fma_(n, -0x1.473de6af278edp-34, fma_(n, -0x1.62e42fefp-1, bounded))};
}

/// exp(x) to about 1 ulp; beyond the range of normal numbers it stays at its ends; NaN stays NaN.
FD_HD float exp_(float x) {
  const float E[] = {1.0f, 1.0f, 0.5f, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040};
  const auto [k, r] = octave_of(x);
  return x != x ? x : polynomial(E, r) * power_of_two(k);
}
FD_HD double exp_(double x) {
  const double E[] = {1.0,
                      1.0,
                      1.0 / 2,
                      1.0 / 6,
                      1.0 / 24,
                      1.0 / 120,
                      1.0 / 720,
                      1.0 / 5040,
                      1.0 / 40320,
                      1.0 / 362880,
                      1.0 / 3628800,
                      1.0 / 39916800,
                      1.0 / 479001600,
                      1.0 / 6227020800.0};
  const auto [k, r] = octave_of(x);
  return x != x ? x : polynomial(E, r) * power_of_two(k);
}

/// Up to where exp_ follows e^x.
template <class T>
FD_HD T most_exponent() {
  return sizeof(T) == sizeof(double) ? T(709) : T(88);
}

/// e^x to multiply `a` with: infinite where it overflows, but nothing stays nothing.
template <class T>
FD_HD T exp_for_(T a, T x) {
  const T infinity = static_cast<T>(INFINITY);
  return select(a == 0, T(0), select(x > most_exponent<T>(), infinity, exp_(x)));
}

/// e^x, e^x - 1 and e^x - 1 - x, each to a few ulp of its own: no digits are lost near x = 0.
/// Infinite where e^x overflows.
template <class T>
struct Exponential {
  T value, minus_one, excess;
};

/// The three from x's octave and the remainder r^2 (1/2 + r/6 + ...) = e^r - 1 - r.
template <class T, class Int>
FD_HD Exponential<T> exponential_of(T x, Octave<T, Int> o, T remainder) {
  const T scale = power_of_two(o.k), tail = o.r + remainder;
  const T minus_one = fma_(scale, tail, scale - T(1));
  const T excess = o.k == 0 ? remainder : minus_one - x;
  const T infinity = static_cast<T>(INFINITY);
  const T beyond = x <= most_exponent<T>() ? T(0) : x != x ? x : infinity;  // what is not a number
  return {fma_(scale, tail, scale) + beyond, minus_one + beyond, excess + beyond};
}
FD_HD Exponential<float> exponential(float x) {
  const float E[] = {1.0f / 2,   1.0f / 6,    1.0f / 24,   1.0f / 120,
                     1.0f / 720, 1.0f / 5040, 1.0f / 40320};
  const auto o = octave_of(x);
  return exponential_of(x, o, o.r * o.r * polynomial(E, o.r));
}
FD_HD Exponential<double> exponential(double x) {
  const double E[] = {1.0 / 2,
                      1.0 / 6,
                      1.0 / 24,
                      1.0 / 120,
                      1.0 / 720,
                      1.0 / 5040,
                      1.0 / 40320,
                      1.0 / 362880,
                      1.0 / 3628800,
                      1.0 / 39916800,
                      1.0 / 479001600,
                      1.0 / 6227020800.0,
                      1.0 / 87178291200.0};
  const auto o = octave_of(x);
  return exponential_of(x, o, o.r * o.r * polynomial(E, o.r));
}

template <class T>
FD_HD T abs_(T x) {
  return x < 0 ? -x : x;
}

/// log(1 + e) for e in [0, 1], to a few ulp of its own. With s = e / (2 + e) it is 2 atanh s, of
/// which e is taken off first: e - s e = 2 s.
FD_HD float log1p_(float e) {
  const float P[] = {0x1.55554cp-1f, 0x1.99ad6cp-2f, 0x1.21249ap-2f, 0x1.12f598p-2f};
  const float s = e / (2.0f + e), z = s * s;
  return fma_(s, fma_(z, polynomial(P, z), -e), e);
}
/// The same; what 1 + e rounds off is put back.
FD_HD double log1p_(double e) {
  const double u = 1.0 + e;
  return log_(u) + (e - (u - 1.0)) / u;
}

/// 1 / (1 + e^-x), to a few ulp of its own on either side.
template <class T>
FD_HD T sigmoid_(T x) {
  const T e = exp_(-abs_(x));
  return select(x < 0, e, T(1)) / (T(1) + e);
}

/// log(1 + e^x).
template <class T>
FD_HD T softplus_(T x) {
  return select(x < 0, T(0), x) + log1p_(exp_(-abs_(x)));
}

template <class T>
struct SinCos {
  T sin, cos;
};

/// Rotates (sin, cos) of the remainder by `quadrant` quarter turns.
template <class T>
FD_HD SinCos<T> rotate(T s, T c, int32_t quadrant) {
  const T sine = (quadrant & 1) ? c : s;
  const T cosine = (quadrant & 1) ? s : c;
  return {(quadrant & 2) ? -sine : sine, ((quadrant + 1) & 2) ? -cosine : cosine};
}

/// sin and cos of u turns (2 pi u), u in [0, 1]. Reducing turns instead of radians is exact.
FD_HD SinCos<float> sincos_turns(float u) {
  const float S[] = {0x1.921fb6p+2f, -0x1.4abbbap+5f, 0x1.465ec6p+6f, -0x1.2d9ba2p+6f};
  const float C[] = {-0x1.3bd3ccp+4f, 0x1.03c1dep+6f, -0x1.55c664p+6f, 0x1.d9f79ap+5f};
  const int32_t quadrant = static_cast<int32_t>(fma_(u, 4.0f, 0.5f));
  const float f = fma_(static_cast<float>(quadrant), -0.25f, u), z = f * f;
  return rotate(f * polynomial(S, z), fma_(z, polynomial(C, z), 1.0f), quadrant);
}

FD_HD SinCos<double> sincos_turns(double u) {
  // Taylor coefficients of sin(2 pi f) / f and (cos(2 pi f) - 1) / f^2 in f^2, |f| <= 1/8.
  const double S[] = {0x1.921fb54442d18p+2,  -0x1.4abbce625be53p+5, 0x1.466bc6775aae2p+6,
                      -0x1.32d2cce62bd86p+6, 0x1.50783487ee782p+5,  -0x1.e3074fde8871fp+3,
                      0x1.e8f434d018d63p+1,  -0x1.6fadb9f155744p-1, 0x1.aaec32af93359p-4};
  const double C[] = {-0x1.3bd3cc9be45dep+4, 0x1.03c1f081b5ac4p+6,  -0x1.55d3c7e3cbffap+6,
                      0x1.e1f506891babbp+5,  -0x1.a6d1f2a204a8cp+4, 0x1.f9d38a3763cc3p+2,
                      -0x1.b6e24f44b128fp+0, 0x1.20c62c2f2d7f5p-2,  -0x1.2a0c591af8314p-5};
  const int32_t quadrant = static_cast<int32_t>(fma_(u, 4.0, 0.5));
  const double f = fma_(static_cast<double>(quadrant), -0.25, u), z = f * f;
  return rotate(f * polynomial(S, z), fma_(z, polynomial(C, z), 1.0), quadrant);
}

}  // namespace fastdiff
