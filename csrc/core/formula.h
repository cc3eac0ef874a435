// What passes over a batch compute, written once for every backend. A formula says how many inputs,
// per-sample numbers (given, and prepared from those), outputs and sums it has and what becomes of
// one element; a backend supplies the loop. Gradients are formulas like any other, and draw their
// noise again.
#pragma once

#include "core/gaussian.h"
#include "core/launch.h"

namespace fastdiff {

/// One element: what is read, and what is made of it. Sums take `term` in double.
template <class T>
struct Element {
  T in[kMaxTensors], noise;
  T number[kMaxNumbers];
  T out[kMaxTensors], term[kMaxSums];
};

/// Defaults: numbers as they were given, sums as they are.
struct PlainFormula {
  template <class T>
  FD_MEMBER static void prepare(const double* given, double, T* number) {
    for (int k = 0; k < kMaxNumbers; ++k) number[k] = static_cast<T>(given[k]);
  }
  FD_MEMBER static double factor(const double*, double) { return 1.0; }
};

/// Two mixtures of x and z: out = [[n0, n1], [n2, n3]] (x, z).
struct Mix : PlainFormula {
  static constexpr int kInputs = 1, kGiven = 4, kNumbers = 4, kOutputs = 2, kSums = 0;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.out[0] = fma_(e.number[1], e.noise, e.number[0] * e.in[0]);
    e.out[1] = fma_(e.number[3], e.noise, e.number[2] * e.in[0]);
  }
};

/// Its gradient to the numbers: sums of g x, g z, h x, h z for the gradients (g, h) of the outputs.
struct MixSums : PlainFormula {
  static constexpr int kInputs = 3, kGiven = 0, kNumbers = 0, kOutputs = 0, kSums = 4;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.term[0] = e.in[0] * e.in[2];
    e.term[1] = e.in[0] * e.noise;
    e.term[2] = e.in[1] * e.in[2];
    e.term[3] = e.in[1] * e.noise;
  }
};

/// weight scale sum (y - (p x + q z))^2; numbers (p, q, weight), parameter scale.
struct SquaredError : PlainFormula {
  static constexpr int kInputs = 2, kGiven = 3, kNumbers = 2, kOutputs = 0, kSums = 1;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static T difference(const Element<T>& e) {
    return e.in[0] - fma_(e.number[1], e.noise, e.number[0] * e.in[1]);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = difference(e);
    e.term[0] = d * d;
  }
  FD_MEMBER static double factor(const double* given, double scale) { return given[2] * scale; }
};

/// Its gradient to y; numbers (p, q, weight, gradient).
struct SquaredErrorGrad : PlainFormula {
  static constexpr int kInputs = 2, kGiven = 4, kNumbers = 3, kOutputs = 1, kSums = 0;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void prepare(const double* given, double scale, T* number) {
    number[0] = static_cast<T>(given[0]), number[1] = static_cast<T>(given[1]);
    number[2] = static_cast<T>(2.0 * given[3] * given[2] * scale);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.out[0] = e.number[2] * SquaredError::difference(e);
  }
};

/// A draw from N(m, e^v), inputs (m, v), and its KL to N(0, I): 1/2 sum (m^2 + e^v - 1 - v).
struct GaussianSample : PlainFormula {
  static constexpr int kInputs = 2, kGiven = 0, kNumbers = 0, kOutputs = 1, kSums = 1;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    // With y = v / 2: e^v - 1 - v = (e^y - 1)^2 + 2 (e^y - 1 - y), sums of what is not negative.
    const Exponential<T> root = exponential(T(0.5) * e.in[1]);
    e.out[0] = fma_(root.value, e.noise, e.in[0]);
    const T excess = fma_(root.minus_one, root.minus_one, T(2) * root.excess);
    e.term[0] = fma_(e.in[0], e.in[0], excess);
  }
  FD_MEMBER static double factor(const double*, double) { return 0.5; }
};

/// Its gradient to m and v; inputs (m, v, gradient of the draw), number: gradient of the KL.
struct GaussianSampleGrad : PlainFormula {
  static constexpr int kInputs = 3, kGiven = 1, kNumbers = 1, kOutputs = 2, kSums = 0;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const Exponential<T> root = exponential(T(0.5) * e.in[1]);
    const T g = e.number[0], minus_one = root.minus_one * (root.minus_one + T(2));  // e^v - 1
    e.out[0] = fma_(g, e.in[0], e.in[2]);
    e.out[1] = T(0.5) * fma_(e.in[2] * root.value, e.noise, g * minus_one);
  }
};

/// KL(N(m, e^v) || N(m', e^v')) = 1/2 sum (e^r - 1 - r + (m - m')^2 e^-v'), r = v - v'; inputs
/// (m, v, m', v').
struct GaussianKL : PlainFormula {
  static constexpr int kInputs = 4, kGiven = 0, kNumbers = 0, kOutputs = 0, kSums = 1;
  static constexpr bool kNoise = false;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[2];
    e.term[0] = fma_(d * d, exp_(-e.in[3]), exponential(e.in[1] - e.in[3]).excess);
  }
  FD_MEMBER static double factor(const double*, double) { return 0.5; }
};

/// Its gradient to all four; number: gradient of the KL.
struct GaussianKLGrad : PlainFormula {
  static constexpr int kInputs = 4, kGiven = 1, kNumbers = 1, kOutputs = 4, kSums = 0;
  static constexpr bool kNoise = false;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[2], precision = exp_(-e.in[3]), g = e.number[0];
    const T minus_one = exponential(e.in[1] - e.in[3]).minus_one;
    const T along = g * (d * precision);
    e.out[0] = along;
    e.out[1] = T(0.5) * (g * minus_one);
    e.out[2] = -along;
    e.out[3] = T(-0.5) * fma_(along, d, g * minus_one);
  }
};

/// Log-probability of levels under a Gaussian cut into bins: inputs (x, mean, log-variance),
/// parameter: the number of levels.
struct DiscretisedGaussian : PlainFormula {
  static constexpr int kInputs = 3, kGiven = 0, kNumbers = 3, kOutputs = 0, kSums = 1;
  static constexpr bool kNoise = false;

  template <class T>
  FD_MEMBER static void prepare(const double*, double depth, T* number) {
    const double half = 1.0 / (depth - 1.0);
    number[0] = static_cast<T>(half), number[1] = static_cast<T>(1.0 - half);
    number[2] = static_cast<T>(log_(2.0 * half));
  }
  template <class T>
  FD_MEMBER static BinLogProb<T> bin(const Element<T>& e) {
    const Bins<T> bins = {e.number[0], e.number[1], e.number[2]};
    return bin_log_prob(e.in[0], e.in[1], e.in[2], bins);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.term[0] = bin(e).value;
  }
};

/// Its gradient to the mean and the log-variance; number: gradient of the log-probability.
struct DiscretisedGaussianGrad : PlainFormula {
  static constexpr int kInputs = 3, kGiven = 1, kNumbers = 4, kOutputs = 2, kSums = 0;
  static constexpr bool kNoise = false;

  template <class T>
  FD_MEMBER static void prepare(const double* given, double depth, T* number) {
    DiscretisedGaussian::prepare(given, depth, number);
    number[3] = static_cast<T>(given[0]);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const BinLogProb<T> p = DiscretisedGaussian::bin(e);
    e.out[0] = e.number[3] * p.d_mean;
    e.out[1] = e.number[3] * p.d_log_var;
  }
};

}  // namespace fastdiff
