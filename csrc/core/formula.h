// What passes over a batch compute, written once for every backend. A formula says how many inputs,
// per-sample numbers (given, and prepared from those), outputs and sums it has and what becomes of
// one element; a backend supplies the loop. Gradients are formulas like any other, and draw their
// noise again.
#pragma once

#include "core/bins.h"
#include "core/launch.h"

namespace fastdiff {

/// One element: what is read, and what is made of it. Sums take `term` in double.
template <class T>
struct Element {
  T in[kMaxTensors], noise;
  T number[kMaxNumbers];
  T out[kMaxTensors], term[kMaxSums];
};

/// What a formula has unless it says otherwise: nothing, numbers as given, sums as they are.
struct PlainFormula {
  static constexpr int kInputs = 0, kOutputs = 0, kSums = 0;
  static constexpr int kGiven = 0, kNumbers = 0;  // of each sample
  static constexpr bool kNoise = false;

  template <class T>
  FD_MEMBER static void prepare(const double* given, double, T* number) {
    for (int k = 0; k < kMaxNumbers; ++k) number[k] = static_cast<T>(given[k]);
  }
  FD_MEMBER static double factor(const double*, double) { return 1.0; }
};

/// Two mixtures of x and z: out = [[n0, n1], [n2, n3]] (x, z).
struct Mix : PlainFormula {
  static constexpr int kInputs = 1, kOutputs = 2, kGiven = 4, kNumbers = 4;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.out[0] = fma_(e.number[1], e.noise, e.number[0] * e.in[0]);
    e.out[1] = fma_(e.number[3], e.noise, e.number[2] * e.in[0]);
  }
};

/// Its gradient to the numbers: sums of g x, g z, h x, h z for the gradients (g, h) of the outputs.
struct MixSums : PlainFormula {
  static constexpr int kInputs = 3, kSums = 4;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.term[0] = e.in[0] * e.in[2];
    e.term[1] = e.in[0] * e.noise;
    e.term[2] = e.in[1] * e.in[2];
    e.term[3] = e.in[1] * e.noise;
  }
};

/// weight scale sum (y - y')^2, inputs (y, y'); number: weight, parameter: scale.
struct SquaredError : PlainFormula {
  static constexpr int kInputs = 2, kSums = 1, kGiven = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[1];
    e.term[0] = d * d;
  }
  FD_MEMBER static double factor(const double* given, double scale) { return given[0] * scale; }
};

/// Its gradient to y and y'; numbers (weight, gradient).
struct SquaredErrorGrad : PlainFormula {
  static constexpr int kInputs = 2, kOutputs = 2, kGiven = 2, kNumbers = 1;

  template <class T>
  FD_MEMBER static void prepare(const double* given, double scale, T* number) {
    number[0] = static_cast<T>(2.0 * given[0] * given[1] * scale);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.out[0] = e.number[0] * (e.in[0] - e.in[1]);
    e.out[1] = -e.out[0];
  }
};

/// A draw from N(m, e^v), inputs (m, v), and its KL to N(0, I): 1/2 sum (m^2 + e^v - 1 - v).
struct GaussianSample : PlainFormula {
  static constexpr int kInputs = 2, kOutputs = 1, kSums = 1;
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

/// Its gradient to m, v and the noise; inputs (m, v, gradient of the draw), number: that of the KL.
struct GaussianSampleGrad : PlainFormula {
  static constexpr int kInputs = 3, kOutputs = 3, kGiven = 1, kNumbers = 1;
  static constexpr bool kNoise = true;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const Exponential<T> root = exponential(T(0.5) * e.in[1]);
    const T g = e.number[0], minus_one = root.minus_one * (root.minus_one + T(2));  // e^v - 1
    e.out[0] = fma_(g, e.in[0], e.in[2]);
    e.out[2] = select(e.in[2] == 0, T(0), e.in[2] * root.value);
    e.out[1] = T(0.5) * fma_(e.out[2], e.noise, g * minus_one);
  }
};

/// KL(N(m, e^v) || N(m', e^v')) = 1/2 sum (e^r - 1 - r + (m - m')^2 e^-v'), r = v - v'; inputs
/// (m, v, m', v').
struct GaussianKL : PlainFormula {
  static constexpr int kInputs = 4, kSums = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[2];
    e.term[0] = fma_(d * d, exp_for_(d * d, -e.in[3]), exponential(e.in[1] - e.in[3]).excess);
  }
  FD_MEMBER static double factor(const double*, double) { return 0.5; }
};

/// Its gradient to all four; number: gradient of the KL.
struct GaussianKLGrad : PlainFormula {
  static constexpr int kInputs = 4, kOutputs = 4, kGiven = 1, kNumbers = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[2], precision = exp_for_(d, -e.in[3]), g = e.number[0];
    const T minus_one = exponential(e.in[1] - e.in[3]).minus_one;
    const T along = g * (d * precision);
    e.out[0] = along;
    e.out[1] = T(0.5) * (g * minus_one);
    e.out[2] = -along;
    e.out[3] = T(-0.5) * fma_(along, d, g * minus_one);
  }
};

/// log N(x; m, e^v) = -1/2 sum ((x - m)^2 e^-v + v + log 2 pi), inputs (x, m, v).
struct GaussianLogProb : PlainFormula {
  static constexpr int kInputs = 3, kSums = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[1];
    e.term[0] = fma_(d * d, exp_for_(d * d, -e.in[2]), e.in[2] + T(1.83787706640934548356));
  }
  FD_MEMBER static double factor(const double*, double) { return -0.5; }
};

/// Its gradient to all three; number: gradient of the log-probability.
struct GaussianLogProbGrad : PlainFormula {
  static constexpr int kInputs = 3, kOutputs = 3, kGiven = 1, kNumbers = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T d = e.in[0] - e.in[1], along = e.number[0] * (d * exp_for_(d, -e.in[2]));
    e.out[0] = -along;
    e.out[1] = along;
    e.out[2] = T(0.5) * fma_(along, d, -e.number[0]);
  }
};

/// sum x log p + (1 - x) log(1 - p) for p = sigmoid(y), inputs (x, y).
struct Bernoulli : PlainFormula {
  static constexpr int kInputs = 2, kSums = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const T x = e.in[0], y = e.in[1];
    e.term[0] = select(y > 0, (x - T(1)) * y, x * y) - log1p_(exp_(-abs_(y)));
  }
};

/// Its gradient to y; number: gradient of the log-probability.
struct BernoulliGrad : PlainFormula {
  static constexpr int kInputs = 2, kOutputs = 1, kGiven = 1, kNumbers = 1;

  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.out[0] = e.number[0] * (e.in[0] - sigmoid_(e.in[1]));
  }
};

/// Log-probability of levels under a distribution cut into bins: inputs (x, mean, and logarithm of
/// what Distribution has for its width), parameter: the number of levels.
template <template <class> class Distribution>
struct Discretised : PlainFormula {
  static constexpr int kInputs = 3, kSums = 1, kNumbers = 3;

  template <class T>
  FD_MEMBER static void prepare(const double*, double depth, T* number) {
    const double half = 1.0 / (depth - 1.0);
    number[0] = static_cast<T>(half), number[1] = static_cast<T>(1.0 - half);
    number[2] = static_cast<T>(log_(2.0 * half));
  }
  template <class T>
  FD_MEMBER static BinLogProb<T> bin(const Element<T>& e) {
    const Bins<T> bins = {e.number[0], e.number[1], e.number[2]};
    return Distribution<T>::bin(e.in[0], e.in[1], e.in[2], bins);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    e.term[0] = bin(e).value;
  }
};

/// Its gradient to the mean and the width; number: gradient of the log-probability.
template <template <class> class Distribution>
struct DiscretisedGrad : PlainFormula {
  static constexpr int kInputs = 3, kOutputs = 2, kGiven = 1, kNumbers = 4;

  template <class T>
  FD_MEMBER static void prepare(const double* given, double depth, T* number) {
    Discretised<Distribution>::prepare(given, depth, number);
    number[3] = static_cast<T>(given[0]);
  }
  template <class T>
  FD_MEMBER static void element(Element<T>& e) {
    const BinLogProb<T> p = Discretised<Distribution>::bin(e);
    e.out[0] = e.number[3] * p.d_mean;
    e.out[1] = e.number[3] * p.d_width;
  }
};

}  // namespace fastdiff
