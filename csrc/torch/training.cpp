// The operations of training, torch.ops.fastdiff.*: each is one pass over a batch (core/formula.h).
// They write into tensors that the caller made; fastdiff/ops/training.py makes them and knows which
// is the gradient of which. Inputs may have any strides; what is not readable in place is copied.
#include <initializer_list>
#include <vector>

#include "core/sums.h"
#include "torch/pack.h"
#include "torch/run.h"
#include "torch/stable_view.h"

namespace fastdiff {
namespace {

using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;

/// A pass being put together; `like` gives shape, device and arithmetic.
class PassBuilder {
 public:
  PassBuilder(Formula formula, const char* argument, const Tensor& like) : like_(view(like)) {
    if (like_.dim < 1) reject(argument, "[batch, ...]", describe(like_));
    args_.formula = formula;
    const DType dtype = dtype_of(like_, argument, "float32, float64, bfloat16, float16");
    args_.compute = dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
    args_.device = like_.device_type == 1 ? -1 : like_.device_index;
    args_.batch = like_.sizes[0];
    args_.numel = 1;
    for (int64_t d = 1; d < like_.dim; ++d) args_.numel *= like_.sizes[d];
    place_.push_back(like);
  }

  void input(int k, const char* argument, const MaybeTensor& t) {
    if (t) args_.in[k] = readable(argument, *t);
  }

  /// Normals like the others, or keys to draw them from; none: zeros.
  void noise(const char* argument, const MaybeTensor& t) {
    if (!t) return;
    TensorView v = view(*t);
    if (v.dtype != Scalar::kInt64) {
      args_.noise = readable(argument, *t);
      return;
    }
    const std::string keys = "int64 keys [" + std::to_string(args_.batch) + ", 2]";
    if (v.dim != 2 || v.sizes[0] != args_.batch || v.sizes[1] != 2) {
      reject(argument, keys + " or normals", describe(v));
    }
    require_device(argument, v);
    if (!v.contiguous()) v = view(keep(torch::stable::contiguous(*t)));
    args_.keys = static_cast<const int64_t*>(v.data);
  }

  /// Numbers k, k + 1, ... of each sample: the columns of t [batch, ...].
  void numbers(int k, const char* argument, const Tensor& t, std::initializer_list<int64_t> rest) {
    const TensorView v = view(t);
    int64_t count = 1;
    bool right = v.dim == 1 + static_cast<int64_t>(rest.size()) && v.sizes[0] == args_.batch;
    for (int64_t d = 1; right && d < v.dim; ++d) {
      right = v.sizes[d] == rest.begin()[d - 1];
      count *= v.sizes[d];
    }
    const DType dtype = dtype_of(v, argument, "float32, float64");
    if (!right) reject(argument, "one row for each of " + std::to_string(args_.batch), describe(v));
    require_device(argument, v);
    const int64_t size = dtype == DType::kFloat64 ? 8 : 4;
    for (int64_t i = 0; i < count; ++i) {
      int64_t place = 0, index = i;
      for (int64_t d = v.dim - 1; d > 0; index /= v.sizes[d--]) {
        place += index % v.sizes[d] * v.strides[d];
      }
      args_.number[k + i] = {static_cast<const char*>(v.data) + place * size, 0, dtype,
                             v.strides[0]};
    }
  }
  void number(int k, double value) { args_.number[k].value = value; }
  void parameter(double value) { args_.parameter = value; }

  void output(int k, const char* argument, const MaybeTensor& t) {
    if (t) args_.out[k] = writable(argument, *t);
  }

  void drawn(const char* argument, const MaybeTensor& t) {
    if (t) args_.drawn = writable(argument, *t);
  }

  /// Sums of each sample, [batch, ...].
  void result(const char* argument, const Tensor& t, int64_t sums) {
    const TensorView v = view(t);
    args_.result = {v.data, dtype_of(v, argument, "float32, float64")};
    require_device(argument, v);
    if (v.dim < 1 || v.sizes[0] != args_.batch || v.numel() != args_.batch * sums ||
        !v.contiguous()) {
      reject(argument, "a contiguous tensor of a row for each sample", describe(v));
    }
    const int64_t chunks = sum_chunks_of(args_.numel);
    if (chunks < 2) return;
    const Tensor& partial = keep(torch::stable::new_empty(place_[0], {args_.batch * chunks * sums},
                                                          torch::headeronly::ScalarType::Double));
    args_.partial = static_cast<double*>(partial.data_ptr());
  }

  void run() const { run_pass(args_); }

 private:
  const Tensor& keep(Tensor t) { return place_.emplace_back(std::move(t)); }

  void require_device(const char* argument, const TensorView& v) const {
    if (v.device_type != like_.device_type || v.device_index != like_.device_index) {
      reject(argument, "a tensor on the device of the others", describe(v));
    }
  }

  DType check(const char* argument, const TensorView& v) const {
    require_device(argument, v);
    bool same = v.dim == like_.dim;
    for (int64_t d = 0; same && d < v.dim; ++d) same = v.sizes[d] == like_.sizes[d];
    if (!same) reject(argument, "the shape of " + describe(like_), describe(v));
    const bool wide = args_.compute == DType::kFloat64;
    return dtype_of(v, argument, wide ? "float64" : "float32, bfloat16, float16");
  }

  Input readable(const char* argument, const Tensor& t) {
    TensorView v = view(t);
    const DType dtype = check(argument, v);
    bool constant = args_.numel > 1, contiguous = true;
    int64_t expected = 1;
    for (int64_t d = v.dim - 1; d > 0; --d) {
      if (v.sizes[d] == 1) continue;
      constant = constant && v.strides[d] == 0;
      contiguous = contiguous && v.strides[d] == expected;
      expected *= v.sizes[d];
    }
    if (!constant && !contiguous) v = view(keep(torch::stable::contiguous(t)));
    return {v.data, dtype, v.strides[0], constant};
  }

  Output writable(const char* argument, const Tensor& t) const {
    const TensorView v = view(t);
    const DType dtype = check(argument, v);
    if (!v.contiguous()) reject(argument, "a contiguous tensor", describe(v));
    return {v.data, dtype};
  }

  PassArgs args_ = {};
  std::vector<Tensor> place_;  // keeps what is read alive
  TensorView like_;
};

void mix_(MaybeTensor first, MaybeTensor second, MaybeTensor drawn, MaybeTensor x,
          MaybeTensor noise, Tensor mix) {
  if (!x && !noise) reject("x", "a tensor", "None");
  PassBuilder pass(Formula::kMix, "x", x ? *x : *noise);
  pass.input(0, "x", x);
  pass.noise("noise", noise);
  pass.numbers(0, "mix", mix, {2, 2});
  pass.output(0, "first", first);
  pass.output(1, "second", second);
  pass.drawn("drawn", drawn);
  pass.run();
}

void mix_sums_(Tensor sums, MaybeTensor first, MaybeTensor second, Tensor x, Tensor noise) {
  PassBuilder pass(Formula::kMixSums, "x", x);
  pass.input(0, "first", first);
  pass.input(1, "second", second);
  pass.input(2, "x", x);
  pass.noise("noise", noise);
  pass.result("sums", sums, 4);
  pass.run();
}

/// What both passes of the squared error read.
PassBuilder squared_error(Formula formula, const Tensor& output, const Tensor& x,
                          const Tensor& weight, double scale, const MaybeTensor& mix,
                          const MaybeTensor& noise) {
  PassBuilder pass(formula, "output", output);
  pass.input(0, "output", output);
  pass.input(1, "x", x);
  pass.number(0, 1.0);
  if (mix) pass.numbers(0, "mix", *mix, {2});
  pass.noise("noise", noise);
  pass.numbers(2, "weight", weight, {});
  pass.parameter(scale);
  return pass;
}

void squared_error_(Tensor error, Tensor output, Tensor x, Tensor weight, double scale,
                    MaybeTensor mix, MaybeTensor noise) {
  PassBuilder pass = squared_error(Formula::kSquaredError, output, x, weight, scale, mix, noise);
  pass.result("error", error, 1);
  pass.run();
}

void squared_error_grad_(Tensor to_output, Tensor gradient, Tensor output, Tensor x, Tensor weight,
                         double scale, MaybeTensor mix, MaybeTensor noise) {
  PassBuilder pass =
      squared_error(Formula::kSquaredErrorGrad, output, x, weight, scale, mix, noise);
  pass.numbers(3, "gradient", gradient, {});
  pass.output(0, "to_output", to_output);
  pass.run();
}

void gaussian_sample_(Tensor sample, Tensor kl, Tensor mean, Tensor log_var, Tensor noise) {
  PassBuilder pass(Formula::kGaussianSample, "mean", mean);
  pass.input(0, "mean", mean);
  pass.input(1, "log_var", log_var);
  pass.noise("noise", noise);
  pass.output(0, "sample", sample);
  pass.result("kl", kl, 1);
  pass.run();
}

void gaussian_sample_grad_(MaybeTensor to_mean, MaybeTensor to_log_var, MaybeTensor of_sample,
                           MaybeTensor of_kl, Tensor mean, Tensor log_var, Tensor noise) {
  PassBuilder pass(Formula::kGaussianSampleGrad, "mean", mean);
  pass.input(0, "mean", mean);
  pass.input(1, "log_var", log_var);
  pass.input(2, "of_sample", of_sample);
  if (of_kl) pass.numbers(0, "of_kl", *of_kl, {});
  pass.noise("noise", noise);
  pass.output(0, "to_mean", to_mean);
  pass.output(1, "to_log_var", to_log_var);
  pass.run();
}

PassBuilder gaussian_kl(Formula formula, const Tensor& mean, const Tensor& log_var,
                        const Tensor& mean_p, const Tensor& log_var_p) {
  PassBuilder pass(formula, "mean", mean);
  pass.input(0, "mean", mean);
  pass.input(1, "log_var", log_var);
  pass.input(2, "mean_p", mean_p);
  pass.input(3, "log_var_p", log_var_p);
  return pass;
}

void gaussian_kl_(Tensor kl, Tensor mean, Tensor log_var, Tensor mean_p, Tensor log_var_p) {
  PassBuilder pass = gaussian_kl(Formula::kGaussianKL, mean, log_var, mean_p, log_var_p);
  pass.result("kl", kl, 1);
  pass.run();
}

void gaussian_kl_grad_(MaybeTensor to_mean, MaybeTensor to_log_var, MaybeTensor to_mean_p,
                       MaybeTensor to_log_var_p, Tensor gradient, Tensor mean, Tensor log_var,
                       Tensor mean_p, Tensor log_var_p) {
  PassBuilder pass = gaussian_kl(Formula::kGaussianKLGrad, mean, log_var, mean_p, log_var_p);
  pass.numbers(0, "gradient", gradient, {});
  pass.output(0, "to_mean", to_mean);
  pass.output(1, "to_log_var", to_log_var);
  pass.output(2, "to_mean_p", to_mean_p);
  pass.output(3, "to_log_var_p", to_log_var_p);
  pass.run();
}

PassBuilder discretised_gaussian(Formula formula, const Tensor& x, const Tensor& mean,
                                 const Tensor& log_var, int64_t depth) {
  if (depth < 2) reject("depth", "at least 2 levels", std::to_string(depth));
  PassBuilder pass(formula, "x", x);
  pass.input(0, "x", x);
  pass.input(1, "mean", mean);
  pass.input(2, "log_var", log_var);
  pass.parameter(static_cast<double>(depth));
  return pass;
}

void discretised_gaussian_(Tensor log_prob, Tensor x, Tensor mean, Tensor log_var, int64_t depth) {
  PassBuilder pass = discretised_gaussian(Formula::kDiscretisedGaussian, x, mean, log_var, depth);
  pass.result("log_prob", log_prob, 1);
  pass.run();
}

void discretised_gaussian_grad_(MaybeTensor to_mean, MaybeTensor to_log_var, Tensor gradient,
                                Tensor x, Tensor mean, Tensor log_var, int64_t depth) {
  PassBuilder pass =
      discretised_gaussian(Formula::kDiscretisedGaussianGrad, x, mean, log_var, depth);
  pass.numbers(0, "gradient", gradient, {});
  pass.output(0, "to_mean", to_mean);
  pass.output(1, "to_log_var", to_log_var);
  pass.run();
}

}  // namespace
}  // namespace fastdiff

#define FD_IMPLEMENT_ONE(m, name) m.impl(#name, TORCH_BOX(&fastdiff::name))
#define FD_IMPLEMENT(m)                       \
  FD_IMPLEMENT_ONE(m, mix_);                  \
  FD_IMPLEMENT_ONE(m, mix_sums_);             \
  FD_IMPLEMENT_ONE(m, squared_error_);        \
  FD_IMPLEMENT_ONE(m, squared_error_grad_);   \
  FD_IMPLEMENT_ONE(m, gaussian_sample_);      \
  FD_IMPLEMENT_ONE(m, gaussian_sample_grad_); \
  FD_IMPLEMENT_ONE(m, gaussian_kl_);          \
  FD_IMPLEMENT_ONE(m, gaussian_kl_grad_);     \
  FD_IMPLEMENT_ONE(m, discretised_gaussian_); \
  FD_IMPLEMENT_ONE(m, discretised_gaussian_grad_)

STABLE_TORCH_LIBRARY_IMPL(fastdiff, CPU, m) { FD_IMPLEMENT(m); }
#ifdef FD_CUDA
STABLE_TORCH_LIBRARY_IMPL(fastdiff, CUDA, m) { FD_IMPLEMENT(m); }
#endif
