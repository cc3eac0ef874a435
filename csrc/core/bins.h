// Distributions cut into bins: the log-probability of one bin and its gradient, without
// cancellation.
#pragma once

#include "core/math.h"

namespace fastdiff {

/// log p of a bin and its derivatives, to the mean and to the logarithm that gives the width.
template <class T>
struct BinLogProb {
  T value, d_mean, d_width;
};

/// Numbers of a distribution cut into `depth` bins around levels evenly in [-1, 1].
template <class T>
struct Bins {
  T half;       // of the width of a bin
  T edge;       // the outermost levels lie beyond, their bins are open
  T log_width;  // log(2 half)
};

/// Mills' ratio (1 - Phi(u)) / phi(u) for u >= 0, relative error 2e-7 (float) and 5e-16 (double):
/// (u + 4) times it is a polynomial in (u - 4) / (u + 4), by interpolation at Chebyshev nodes.
FD_HD float mills_(float u) {
  const float M[] = {0x1.e4aa02p+0f,  -0x1.8615dp+0f,   0x1.f0d986p-1f,  -0x1.dec65p-2f,
                     0x1.360cecp-3f,  -0x1.3480bcp-6f,  -0x1.1dd2d4p-7f, 0x1.00d0f6p-8f,
                     0x1.5eeac2p-12f, -0x1.9cfa0ep-12f, -0x1.197ae4p-18f};
  const float inverse = 1.0f / (u + 4.0f);
  return polynomial(M, fma_(-8.0f, inverse, 1.0f)) * inverse;
}
FD_HD double mills_(double u) {
  const double M[] = {
      0x1.e4aa012912ddep+0,  -0x1.8615d9b49165fp+0,  0x1.f0d9856bc3b07p-1,   -0x1.dec30ee67901ap-2,
      0x1.360ce26020a85p-3,  -0x1.35aa3c9530225p-6,  -0x1.1dcfea79f1044p-7,  0x1.0be6d6773e171p-8,
      0x1.5e7b1bb21fefap-12, -0x1.2fb435fa902a6p-11, -0x1.4100a93735555p-18, 0x1.7180198c884c3p-14,
      0x1.e2431ed1d8839p-20, -0x1.f20f61cccd065p-17, -0x1.a7e7b1376343p-20,  0x1.58c9d7de095c3p-19,
      0x1.6f017f72bb694p-21, -0x1.ae2b50fabb13ap-22, -0x1.d5081db108779p-23, 0x1.81074648ce9aap-25,
      0x1.d12e7e2fec4a8p-25, -0x1.9edb739154363p-30, -0x1.471d42bc6d2adp-27, -0x1.439eced185599p-32,
      0x1.e479640555c3bp-31};
  const double inverse = 1.0 / (u + 4.0);
  return polynomial(M, fma_(-8.0, inverse, 1.0)) * inverse;
}

/// Half a bin, in standard deviations, up to which a series stands for the difference of Phi.
FD_HD float narrow_bin(float) { return 0.3f; }
FD_HD double narrow_bin(double) { return 0.03; }

/// With s = exp(-log_var / 2), a = s |x - mean| and d = s half, the bin is [a - d, a + d] on the
/// side of 0 where it makes no difference; an open bin is [a - d, inf) with the sign of a such that
/// it points outwards. Three ways to its probability P:
///   narrow: P = 2 d phi(a) S, S = 1 + He2(a) d^2/3! + He4(a) d^4/5! + He6(a) d^6/7!
///   a >= d: P = phi(u) (M(u) - e^{-2ad} M(w)), u = a - d, w = a + d, M Mills' ratio
///   a < d:  P = 1 - phi(u) (M(-u) + e^{-2ad} M(w))
template <class T>
FD_HD BinLogProb<T> gaussian_bin(T x, T mean, T log_var, const Bins<T>& bins) {
  const T half_log_2pi = T(0.91893853320467274178);
  const T s = exp_(T(-0.5) * log_var), c = s * (x - mean), d = s * bins.half;
  const bool lowest = x < -bins.edge, open = lowest | (x > bins.edge);
  const T sign = select(lowest | ((c < 0) & !open), T(-1), T(1));
  const T a = sign * c, u = a - d, w = a + d, size = select(u < 0, -u, u);
  const bool narrow = (d * select(a > 1, a, T(1)) < narrow_bin(d)) & !open, outside = u >= 0;

  // Narrow: in q = d^2 and b = (a d)^2, which cannot overflow.
  const T q = d * d, ad = a * d, b = ad * ad;
  const T s2 = (b - q) * T(1.0 / 6);
  const T s4 = fma_(b, b, fma_(T(-6) * b, q, T(3) * q * q)) * T(1.0 / 120);
  const T s6 = fma_(b * b, fma_(T(-15), q, b), T(15) * q * q * fma_(T(3), b, -q)) * T(1.0 / 5040);
  const T series = T(1) + (s2 + (s4 + s6));
  // dS/da = a q slope, d dS/dd = 2 s2 + 4 s4 + 6 s6
  const T slope = fma_(fma_(T(-60) * b, q, fma_(T(6) * b, b, T(90) * q * q)), T(1.0 / 5040),
                       fma_(fma_(T(4), b, T(-12) * q), T(1.0 / 120), T(1.0 / 3)));
  const T along = fma_(T(6), s6, fma_(T(4), s4, fma_(T(2), s2, b * slope)));

  // Wide: relative to phi(u), or to one.
  const Exponential<T> between = exponential(T(-2) * ad);
  const T fade = select(open, T(0), between.value);
  const T fade_minus_one = select(open, T(-1), between.minus_one);
  const T upper = select(open, T(0), fade * mills_(w));
  const T density = exp_(-fma_(T(0.5) * size, size, half_log_2pi));
  const T tail = mills_(size), beyond = density * (tail + upper);
  const T ratio = select(outside, tail - upper, T(1) - beyond);
  const T scale = select(outside, T(1), density) / ratio;  // phi(u) / P

  const T near = fma_(T(-0.5) * a, a, fma_(T(-0.5), log_var, bins.log_width - half_log_2pi));
  const T far = fma_(T(-0.5) * size, size, -half_log_2pi);
  const T lost = ((T(1) - ratio) - beyond) / ratio;  // the digits that 1 - beyond lost
  const T value =
      log_(select(narrow, series, ratio)) + select(narrow, near, select(outside, far, lost));

  const T d_a = select(narrow, a * fma_(q, slope / series, T(-1)), fade_minus_one * scale);
  const T twice = select(narrow, fma_(-a, a, T(1) + along / series), scale * fma_(fade, w, -u));
  return {value, -(s * sign) * d_a, T(-0.5) * twice};
}

/// With s = e^-log_scale the bin is [l, h] = s (x - mean -+ half), its width w = h - l, and
///   P = sigmoid(h) sigmoid(-l) (1 - e^-w)
/// of which the lowest bin has the first factor only, the highest one the second.
template <class T>
FD_HD BinLogProb<T> logistic_bin(T x, T mean, T log_scale, const Bins<T>& bins) {
  const T s = exp_(-log_scale), c = x - mean, most = T(87);  // e^-87 is next to nothing
  const T low = s * (c - bins.half), high = s * (c + bins.half), w = T(2) * s * bins.half;
  const bool lowest = x<-bins.edge, highest = x> bins.edge, inside = !(lowest | highest);
  const T up = select(highest, T(0), sigmoid_(-high)), down = select(lowest, T(0), sigmoid_(low));

  // log(1 - e^-w), of a narrow bin relative to log w.
  const T width = w > T(1e-30) ? w : T(1e-30), part = -exponential(-width).minus_one;
  const bool narrow = width < T(1);
  const T gap =
      log_(select(narrow, part / width, part)) + select(narrow, bins.log_width - log_scale, T(0));

  const T value = select(inside, gap, T(0)) - select(highest, T(0), softplus_(-high)) -
                  select(lowest, T(0), softplus_(low));
  const T spread = (low > -most ? low : -most) * down - (high < most ? high : most) * up;
  return {value, s * (down - up), spread + select(inside, width - width / part, T(0))};
}

template <class T>
struct GaussianBins {
  FD_MEMBER static BinLogProb<T> bin(T x, T mean, T log_var, const Bins<T>& bins) {
    return gaussian_bin(x, mean, log_var, bins);
  }
};
template <class T>
struct LogisticBins {
  FD_MEMBER static BinLogProb<T> bin(T x, T mean, T log_scale, const Bins<T>& bins) {
    return logistic_bin(x, mean, log_scale, bins);
  }
};

}  // namespace fastdiff
