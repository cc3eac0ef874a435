// The operations of training, torch.ops.fastdiff.*: each is one pass over a batch (core/formula.h).
// <name>_grad makes the gradients that are wanted, in the order of the arguments; which is the
// gradient of which is known in fastdiff/ops/training.py, where the schemas are.
#include <tuple>

#include "torch/pass_builder.h"

namespace fastdiff {
namespace {

// Noising.

std::tuple<Tensor, Tensor> mix(Tensor x, Tensor mix, Tensor noise) {
  PassBuilder pass(Formula::kMix, {{"x", x}});
  pass.noise("noise", noise);
  pass.numbers(0, "mix", mix, {0, 1, 2, 3});
  const auto made = std::make_tuple(pass.output(0, "x", x), pass.output(1, "x", x));
  pass.run();
  return made;
}

/// To x and the noise: the transposed mixture of the gradients.
Tensors mix_grad(MaybeTensor of_first, MaybeTensor of_second, Tensor x, Tensor mix, Tensor noise,
                 Wanted wanted) {
  require_wanted(wanted, 3);
  Tensors made;
  PassBuilder back(Formula::kMix, {{"x", x}});
  back.input(0, "of_first", of_first);
  back.noise("of_second", of_second);
  back.numbers(0, "mix", mix, {0, 2, 1, 3});
  if (wanted[0]) made.push_back(back.output(0, "x", x));
  if (wanted[1]) {
    PassBuilder sums(Formula::kMixSums, {{"x", x}});
    sums.input(0, "of_first", of_first);
    sums.input(1, "of_second", of_second);
    sums.input(2, "x", x);
    sums.noise("noise", noise);
    made.push_back(sums.result(4, mix));
    sums.run();
  }
  if (wanted[2]) made.push_back(back.output(1, "noise", noise));
  if (wanted[0] || wanted[2]) back.run();
  return made;
}

// The weighted square of a difference.

Tensor squared_error(Tensor output, Tensor target, Tensor weight, double scale) {
  PassBuilder pass(Formula::kSquaredError, {{"output", output}, {"target", target}});
  pass.numbers(0, "weight", weight, {0});
  pass.parameter(scale);
  const Tensor error = pass.result();
  pass.run();
  return error;
}

/// To the weight: the error, with the gradient as its weight.
Tensors squared_error_grad(Tensor gradient, Tensor output, Tensor target, Tensor weight,
                           double scale, Wanted wanted) {
  require_wanted(wanted, 3);
  const Arguments inputs = {{"output", output}, {"target", target}};
  PassBuilder pass(Formula::kSquaredErrorGrad, inputs);
  pass.numbers(0, "weight", weight, {0});
  pass.numbers(1, "gradient", gradient, {0});
  pass.parameter(scale);
  Tensors made = pass.gradients(wanted, inputs);
  if (wanted[2]) {
    PassBuilder error(Formula::kSquaredError, inputs);
    error.numbers(0, "gradient", gradient, {0});
    error.parameter(scale);
    made.push_back(error.result(1, weight));
    error.run();
  }
  return made;
}

// A reparametrised draw and what it costs.

std::tuple<Tensor, Tensor> gaussian_sample(Tensor mean, Tensor log_var, Tensor noise) {
  PassBuilder pass(Formula::kGaussianSample, {{"mean", mean}, {"log_var", log_var}});
  pass.noise("noise", noise);
  const auto made = std::make_tuple(pass.output(0, "mean", mean), pass.result());
  pass.run();
  return made;
}

Tensors gaussian_sample_grad(MaybeTensor of_sample, MaybeTensor of_kl, Tensor mean, Tensor log_var,
                             Tensor noise, Wanted wanted) {
  require_wanted(wanted, 3);
  PassBuilder pass(Formula::kGaussianSampleGrad, {{"mean", mean}, {"log_var", log_var}});
  pass.input(2, "of_sample", of_sample);
  if (of_kl) pass.numbers(0, "of_kl", *of_kl, {0});
  pass.noise("noise", noise);
  return pass.gradients(wanted, {{"mean", mean}, {"log_var", log_var}, {"noise", noise}});
}

// Sums over each sample of a function of the inputs alone.

Tensor sum(Formula formula, const Arguments& inputs, double parameter = 0) {
  PassBuilder pass(formula, inputs);
  pass.parameter(parameter);
  const Tensor made = pass.result();
  pass.run();
  return made;
}

Tensors sum_grad(Formula formula, const Tensor& gradient, const Arguments& inputs,
                 const Wanted& wanted, size_t constants = 0, double parameter = 0) {
  require_wanted(wanted, inputs.size());
  PassBuilder pass(formula, inputs);
  pass.numbers(0, "gradient", gradient, {0});
  pass.parameter(parameter);
  return pass.gradients(wanted, inputs, constants);
}

Arguments two_gaussians(const Tensor& mean, const Tensor& log_var, const Tensor& mean_p,
                        const Tensor& log_var_p) {
  return {{"mean", mean}, {"log_var", log_var}, {"mean_p", mean_p}, {"log_var_p", log_var_p}};
}
Tensor gaussian_kl(Tensor mean, Tensor log_var, Tensor mean_p, Tensor log_var_p) {
  return sum(Formula::kGaussianKL, two_gaussians(mean, log_var, mean_p, log_var_p));
}
Tensors gaussian_kl_grad(Tensor gradient, Tensor mean, Tensor log_var, Tensor mean_p,
                         Tensor log_var_p, Wanted wanted) {
  return sum_grad(Formula::kGaussianKLGrad, gradient,
                  two_gaussians(mean, log_var, mean_p, log_var_p), wanted);
}

Tensor gaussian_log_prob(Tensor x, Tensor mean, Tensor log_var) {
  return sum(Formula::kGaussianLogProb, {{"x", x}, {"mean", mean}, {"log_var", log_var}});
}
Tensors gaussian_log_prob_grad(Tensor gradient, Tensor x, Tensor mean, Tensor log_var,
                               Wanted wanted) {
  return sum_grad(Formula::kGaussianLogProbGrad, gradient,
                  {{"x", x}, {"mean", mean}, {"log_var", log_var}}, wanted);
}

Tensor bernoulli(Tensor x, Tensor logits) {
  return sum(Formula::kBernoulli, {{"x", x}, {"logits", logits}});
}
Tensors bernoulli_grad(Tensor gradient, Tensor x, Tensor logits, Wanted wanted) {
  return sum_grad(Formula::kBernoulliGrad, gradient, {{"x", x}, {"logits", logits}}, wanted, 1);
}

double levels(int64_t depth) {
  if (depth < 2) reject("depth", "at least 2 levels", std::to_string(depth));
  return static_cast<double>(depth);
}
Tensor discretised_gaussian(Tensor x, Tensor mean, Tensor log_var, int64_t depth) {
  return sum(Formula::kDiscretisedGaussian, {{"x", x}, {"mean", mean}, {"log_var", log_var}},
             levels(depth));
}
Tensors discretised_gaussian_grad(Tensor gradient, Tensor x, Tensor mean, Tensor log_var,
                                  int64_t depth, Wanted wanted) {
  return sum_grad(Formula::kDiscretisedGaussianGrad, gradient,
                  {{"x", x}, {"mean", mean}, {"log_var", log_var}}, wanted, 1, levels(depth));
}
Tensor discretised_logistic(Tensor x, Tensor mean, Tensor log_scale, int64_t depth) {
  return sum(Formula::kDiscretisedLogistic, {{"x", x}, {"mean", mean}, {"log_scale", log_scale}},
             levels(depth));
}
Tensors discretised_logistic_grad(Tensor gradient, Tensor x, Tensor mean, Tensor log_scale,
                                  int64_t depth, Wanted wanted) {
  return sum_grad(Formula::kDiscretisedLogisticGrad, gradient,
                  {{"x", x}, {"mean", mean}, {"log_scale", log_scale}}, wanted, 1, levels(depth));
}

Tensor categorical(Tensor level, Tensor logits) {
  PassBuilder pass({}, {{"logits", logits}});
  pass.rows("level", level);
  const Tensor log_prob = pass.result();
  pass.run();
  return log_prob;
}
Tensors categorical_grad(Tensor gradient, Tensor level, Tensor logits, Wanted wanted) {
  require_wanted(wanted, 2);
  PassBuilder pass({}, {{"logits", logits}});
  pass.rows("level", level);
  pass.numbers(0, "gradient", gradient, {0});
  return pass.gradients(wanted, {{"level", level}, {"logits", logits}}, 1);
}

}  // namespace
}  // namespace fastdiff

#define FD_WITH_GRADIENT(m, name)            \
  m.impl(#name, TORCH_BOX(&fastdiff::name)); \
  m.impl(#name "_grad", TORCH_BOX(&fastdiff::name##_grad))
#define FD_IMPLEMENT(m)                      \
  FD_WITH_GRADIENT(m, mix);                  \
  FD_WITH_GRADIENT(m, squared_error);        \
  FD_WITH_GRADIENT(m, gaussian_sample);      \
  FD_WITH_GRADIENT(m, gaussian_kl);          \
  FD_WITH_GRADIENT(m, gaussian_log_prob);    \
  FD_WITH_GRADIENT(m, bernoulli);            \
  FD_WITH_GRADIENT(m, categorical);          \
  FD_WITH_GRADIENT(m, discretised_gaussian); \
  FD_WITH_GRADIENT(m, discretised_logistic)

STABLE_TORCH_LIBRARY_IMPL(fastdiff, CPU, m) { FD_IMPLEMENT(m); }
#ifdef FD_CUDA
STABLE_TORCH_LIBRARY_IMPL(fastdiff, CUDA, m) { FD_IMPLEMENT(m); }
#endif
