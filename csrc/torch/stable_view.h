// Tensors that came through the dispatcher, as the checks need them.
#pragma once

#include <optional>

#include "torch/stable.h"
#include "torch/view.h"

namespace fastdiff {

inline Scalar scalar_of(torch::headeronly::ScalarType type) {
  using torch::headeronly::ScalarType;
  switch (type) {
    case ScalarType::Float: return Scalar::kFloat32;
    case ScalarType::Double: return Scalar::kFloat64;
    case ScalarType::BFloat16: return Scalar::kBFloat16;
    case ScalarType::Half: return Scalar::kFloat16;
    case ScalarType::Long: return Scalar::kInt64;
    default: return Scalar::kOther;
  }
}

inline TensorView view(const torch::stable::Tensor& t) {
  TensorView v;
  if (!t.defined()) return v;
  v.data = t.data_ptr();
  v.dtype = scalar_of(t.scalar_type());
  v.device_type = t.is_cpu() ? 1 : 2;
  v.device_index = t.is_cpu() ? 0 : t.get_device_index();
  v.dim = t.dim();
  v.sizes = t.sizes().data();
  v.strides = t.strides().data();
  require_memory(v, "tensor");
  return v;
}

inline TensorView view(const std::optional<torch::stable::Tensor>& t) {
  return t ? view(*t) : TensorView();
}

}  // namespace fastdiff
