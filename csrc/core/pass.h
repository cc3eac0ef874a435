// What every backend needs to run a formula (core/formula.h) over a batch.
#pragma once

#include "core/dispatch.h"
#include "core/formula.h"
#include "core/sums.h"

namespace fastdiff {

/// The single switch from a formula's name to the formula.
template <class F>
FD_HOST void with_formula(Formula formula, const F& f) {
  switch (formula) {
    case Formula::kMix: return f(TypeTag<Mix>{});
    case Formula::kMixSums: return f(TypeTag<MixSums>{});
    case Formula::kSquaredError: return f(TypeTag<SquaredError>{});
    case Formula::kSquaredErrorGrad: return f(TypeTag<SquaredErrorGrad>{});
    case Formula::kGaussianSample: return f(TypeTag<GaussianSample>{});
    case Formula::kGaussianSampleGrad: return f(TypeTag<GaussianSampleGrad>{});
    case Formula::kGaussianKL: return f(TypeTag<GaussianKL>{});
    case Formula::kGaussianKLGrad: return f(TypeTag<GaussianKLGrad>{});
    case Formula::kGaussianLogProb: return f(TypeTag<GaussianLogProb>{});
    case Formula::kGaussianLogProbGrad: return f(TypeTag<GaussianLogProbGrad>{});
    case Formula::kBernoulli: return f(TypeTag<Bernoulli>{});
    case Formula::kBernoulliGrad: return f(TypeTag<BernoulliGrad>{});
    case Formula::kDiscretisedGaussian: return f(TypeTag<Discretised<GaussianBins>>{});
    case Formula::kDiscretisedGaussianGrad: return f(TypeTag<DiscretisedGrad<GaussianBins>>{});
    case Formula::kDiscretisedLogistic: return f(TypeTag<Discretised<LogisticBins>>{});
    case Formula::kDiscretisedLogisticGrad: return f(TypeTag<DiscretisedGrad<LogisticBins>>{});
  }
}

/// The dtype of an operand as a type: float64 in a pass in float64, otherwise one of the others.
template <class T, class F>
FD_HD void with_operand_dtype(DType dtype, const F& f) {
  if constexpr (sizeof(T) == sizeof(double)) {
    (void)dtype;
    return f(TypeTag<double>{});
  } else {
    switch (dtype) {
      case DType::kBFloat16: return f(TypeTag<BFloat16>{});
      case DType::kFloat16: return f(TypeTag<Float16>{});
      default: return f(TypeTag<float>{});
    }
  }
}

FD_HD double number_of(const Numbers& n, int64_t sample) {
  if (!n.data) return 0.0;
  return n.dtype == DType::kFloat64 ? static_cast<const double*>(n.data)[sample * n.stride]
                                    : static_cast<const float*>(n.data)[sample * n.stride];
}

/// The numbers of one sample, ready for its elements, and what its sums are multiplied by.
template <class T>
struct Prepared {
  T number[kMaxNumbers];
  double factor;
};

template <class F, class T>
FD_HD Prepared<T> prepare(const PassArgs& args, int64_t sample) {
  double given[kMaxNumbers];
  for (int k = 0; k < kMaxNumbers; ++k) {
    given[k] = k < F::kGiven ? number_of(args.number[k], sample) : 0.0;
  }
  Prepared<T> p;
  F::prepare(given, args.parameter, p.number);
  p.factor = F::factor(given, args.parameter);
  return p;
}

FD_HD void store_number(const Output& out, int64_t at, double value) {
  if (out.dtype == DType::kFloat64) {
    static_cast<double*>(out.data)[at] = value;
  } else {
    static_cast<float*>(out.data)[at] = static_cast<float>(value);
  }
}

/// Keeps sum `k` of a sample, times its factor: the result, or the part of one chunk of several.
FD_HD void store_sum(const PassArgs& args, int64_t sample, int64_t chunk, int sums, int k,
                     double value) {
  if (args.partial) {
    args.partial[(sample * sum_chunks_of(args.numel) + chunk) * sums + k] = value;
  } else {
    store_number(args.result, sample * sums + k, value);
  }
}

/// The results of a sample from the sums of its chunks.
FD_HOST void fold_chunks(const PassArgs& args, int64_t sample, int sums) {
  const int64_t chunks = sum_chunks_of(args.numel);
  for (int k = 0; k < sums; ++k) {
    const double* const partial = args.partial + sample * chunks * sums;
    store_number(args.result, sample * sums + k, fold_partial(partial, chunks, sums, k));
  }
}

}  // namespace fastdiff
