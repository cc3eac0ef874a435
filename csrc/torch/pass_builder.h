// Passes put together from tensors: every check of dtype, device, shape and layout.
#pragma once

#include <initializer_list>
#include <vector>

#include "core/sums.h"
#include "torch/pack.h"
#include "torch/run.h"
#include "torch/stable_view.h"

namespace fastdiff {

using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;
using Tensors = std::vector<Tensor>;
using Wanted = std::vector<bool>;
using torch::headeronly::ScalarType;

struct Argument {
  const char* name;
  const Tensor& tensor;  // of the caller
};
using Arguments = std::vector<Argument>;

/// Whether a gradient is wanted, of each of the `count` tensors that are differentiated.
inline void require_wanted(const Wanted& wanted, size_t count) {
  if (wanted.size() != count) {
    reject("wanted", std::to_string(count) + " values", std::to_string(wanted.size()));
  }
}

/// A pass being put together. All that it reads has the shape of its first input, any strides (what
/// cannot be read in place is copied) and, if the first is float64, that dtype.
class PassBuilder {
 public:
  PassBuilder(Formula formula, const Arguments& inputs)
      : first_(inputs[0]), like_(view(first_.tensor, first_.name)) {
    if (like_.dim < 1) reject(first_.name, "[batch, ...]", describe(like_));
    args_.formula = formula;
    const DType dtype = dtype_of(like_, first_.name, kFloats);
    args_.compute = dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
    args_.device = like_.device_type == 1 ? -1 : like_.device_index;
    args_.batch = like_.sizes[0];
    args_.numel = 1;
    for (int64_t d = 1; d < like_.dim; ++d) args_.numel *= like_.sizes[d];
    for (size_t k = 0; k < inputs.size(); ++k) input(k, inputs[k].name, inputs[k].tensor);
  }

  /// Input k; none: zeros.
  void input(size_t k, const char* argument, const MaybeTensor& t) {
    args_.in[k] = t ? readable(argument, *t) : Input{};
  }

  /// Normals like the inputs, or int64 keys [batch, 2] to draw them from; none: zeros.
  void noise(const char* argument, const MaybeTensor& t) {
    if (!t) return;
    TensorView v = view(*t, argument);
    if (v.dtype != Scalar::kInt64) {
      args_.noise = readable(argument, *t);
      return;
    }
    if (v.dim != 2 || v.sizes[0] != args_.batch || v.sizes[1] != 2) {
      const std::string keys = "int64 keys [" + std::to_string(args_.batch) + ", 2]";
      reject(argument, keys + " or normals", describe(v));
    }
    require_device(argument, v);
    if (!v.contiguous()) v = view(keep(torch::stable::contiguous(*t)), argument);
    args_.keys = static_cast<const int64_t*>(v.data);
  }

  /// Numbers `first`, `first` + 1, ... of each sample: these columns of t [batch, columns], or t
  /// [batch] itself.
  void numbers(int first, const char* argument, const Tensor& t,
               std::initializer_list<int64_t> columns) {
    const TensorView v = view(t, argument);
    const int64_t count = static_cast<int64_t>(columns.size());
    const DType dtype = dtype_of(v, argument, "float32, float64");
    if (v.dim != (count > 1 ? 2 : 1) || v.sizes[0] != args_.batch ||
        (count > 1 && v.sizes[1] != count)) {
      const std::string rest = count > 1 ? ", " + std::to_string(count) + "]" : "]";
      reject(argument, "[" + std::to_string(args_.batch) + rest, describe(v));
    }
    require_device(argument, v);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t place = count > 1 ? columns.begin()[k] * v.strides[1] : 0;
      const char* const data = static_cast<const char*>(v.data);
      args_.number[first + k] = {data + place * (dtype == DType::kFloat64 ? 8 : 4), dtype,
                                 v.strides[0]};
    }
  }
  void parameter(double value) { args_.parameter = value; }

  /// Makes the first input rows of logits, along its last dimension, one for each of the levels.
  void rows(const char* argument, const Tensor& levels) {
    TensorView v = view(levels, argument);
    require_device(argument, v);
    bool like = like_.dim >= 2 && v.dtype == Scalar::kInt64 && v.dim == like_.dim - 1;
    for (int64_t d = 0; like && d < v.dim; ++d) like = v.sizes[d] == like_.sizes[d];
    if (!like) {
      reject(argument, "int64, one for each row of " + describe(like_), describe(v));
    }
    rows_.classes = like_.sizes[like_.dim - 1];
    if (rows_.classes < 1) reject(first_.name, "at least one class", describe(like_));
    if (args_.in[0].constant) {  // rows are read one logit after the other
      args_.in[0] = readable(first_.name, keep(torch::stable::contiguous(first_.tensor)));
    }
    if (!v.contiguous()) v = view(keep(torch::stable::contiguous(levels)), argument);
    rows_.level = static_cast<const int64_t*>(v.data);
    args_.numel /= rows_.classes;
    for (int64_t i = 0; args_.device < 0 && i < v.numel(); ++i) {
      if (rows_.level[i] < 0 || rows_.level[i] >= rows_.classes) {
        reject(argument, "levels in [0, " + std::to_string(rows_.classes) + ")",
               std::to_string(rows_.level[i]));
      }
    }
  }

  /// Room for output k, of the dtype of `like`, which is this argument.
  Tensor output(int k, const char* argument, const Tensor& like) {
    const ScalarType dtype = like.scalar_type();
    const DType made = dtype_of(view(like, argument), argument, kFloats);
    Tensor out = empty_on_device_of(first_.tensor, like_.sizes, like_.dim, dtype);
    args_.out[k] = {out.data_ptr(), made};
    return out;
  }

  /// Room for the sums of each sample: [batch] or [batch, sums].
  Tensor result(int64_t sums = 1, MaybeTensor like = std::nullopt) {
    const bool wide =
        like ? like->scalar_type() == ScalarType::Double : args_.compute == DType::kFloat64;
    const int64_t sizes[] = {args_.batch, sums};
    Tensor out = empty_on_device_of(first_.tensor, sizes, sums > 1 ? 2 : 1,
                                    wide ? ScalarType::Double : ScalarType::Float);
    args_.sums = static_cast<int32_t>(sums);
    args_.result = {out.data_ptr(), wide ? DType::kFloat64 : DType::kFloat32};
    const int64_t chunks = sum_chunks_of(args_.numel);
    if (chunks > 1) {
      const int64_t room = args_.batch * chunks * sums;
      kept_.push_back(empty_on_device_of(first_.tensor, &room, 1, ScalarType::Double));
      args_.partial = static_cast<double*>(kept_.back().data_ptr());
    }
    return out;
  }

  /// Runs, for the gradients that are wanted of these arguments; output k is that of the k-th which
  /// is differentiated: not the leading `constants`.
  Tensors gradients(const Wanted& wanted, const Arguments& of, size_t constants = 0) {
    Tensors made;
    for (size_t k = 0; k < of.size(); ++k) {
      if (!wanted[k]) continue;
      if (k < constants) reject(of[k].name, "a tensor without gradient", "requires_grad=True");
      made.push_back(output(static_cast<int>(k - constants), of[k].name, of[k].tensor));
    }
    if (!made.empty()) run();
    return made;
  }

  void run() {
    if (rows_.classes == 0) return run_pass(args_);
    rows_.pass = args_;
    run_categorical(rows_);
  }

 private:
  static constexpr const char* kFloats = "float32, float64, bfloat16, float16";

  const Tensor& keep(Tensor t) { return kept_.emplace_back(std::move(t)); }

  void require_device(const char* argument, const TensorView& v) const {
    if (v.device_type != like_.device_type || v.device_index != like_.device_index) {
      reject(argument, std::string("a tensor on the device of ") + first_.name, describe(v));
    }
  }

  Input readable(const char* argument, const Tensor& t) {
    TensorView v = view(t, argument);
    require_device(argument, v);
    bool same = v.dim == like_.dim;
    for (int64_t d = 0; same && d < v.dim; ++d) same = v.sizes[d] == like_.sizes[d];
    if (!same) {
      reject(argument, std::string("the shape of ") + first_.name + ", " + describe(like_),
             describe(v));
    }
    const bool wide = args_.compute == DType::kFloat64;
    const DType dtype = dtype_of(v, argument, wide ? "float64" : "float32, bfloat16, float16");
    bool constant = args_.numel > 1, contiguous = true;
    int64_t expected = 1;
    for (int64_t d = v.dim - 1; d > 0; --d) {
      if (v.sizes[d] == 1) continue;
      constant = constant && v.strides[d] == 0;
      contiguous = contiguous && v.strides[d] == expected;
      expected *= v.sizes[d];
    }
    if (!constant && !contiguous) v = view(keep(torch::stable::contiguous(t)), argument);
    return {v.data, dtype, v.strides[0], constant};
  }

  PassArgs args_ = {};
  CategoricalArgs rows_ = {};
  const Argument first_;
  const TensorView like_;
  Tensors kept_;  // alive until the pass ran
};

}  // namespace fastdiff
