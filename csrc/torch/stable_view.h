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
  const bool host = t.is_cpu();
  const auto sizes = t.sizes();
  v.data = t.data_ptr();
  v.dtype = scalar_of(t.scalar_type());
  v.device_type = host ? 1 : 2;
  v.device_index = host ? 0 : t.get_device_index();
  v.dim = static_cast<int64_t>(sizes.size());
  v.sizes = sizes.data();
  v.strides = t.strides().data();
  require_memory(v, "tensor");
  return v;
}

inline TensorView view(const std::optional<torch::stable::Tensor>& t) {
  return t ? view(*t) : TensorView();
}

/// Memory of this shape, contiguous, on the device of `t`. What the stable ABI has for it goes
/// through the dispatcher by name, which takes 0.3 us more.
inline torch::stable::Tensor empty_on_device_of(const torch::stable::Tensor& t,
                                                const int64_t* sizes, int64_t dim,
                                                torch::headeronly::ScalarType dtype) {
  constexpr int64_t kMostDims = 64;  // of a torch tensor
  int64_t strides[kMostDims], below = 1;
  for (int64_t d = dim - 1; d >= 0; --d) {
    strides[d] = below;
    below *= sizes[d] > 1 ? sizes[d] : 1;
  }
  int32_t device_type, device_index;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(t.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(t.get(), &device_index));
  const auto code = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  AtenTensorHandle made;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dim, sizes, strides, code, device_type, device_index, &made));
  return torch::stable::Tensor(made);
}

}  // namespace fastdiff
