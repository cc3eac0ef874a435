// Tensors that came through the dispatcher, as the checks need them.
#pragma once

#include <algorithm>
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
    case ScalarType::Int: return Scalar::kInt32;
    case ScalarType::Byte: return Scalar::kUInt8;
    case ScalarType::Char: return Scalar::kInt8;
    case ScalarType::Short: return Scalar::kInt16;
    case ScalarType::UInt16: return Scalar::kUInt16;
    case ScalarType::UInt32: return Scalar::kUInt32;
    case ScalarType::UInt64: return Scalar::kUInt64;
    case ScalarType::Bool: return Scalar::kBool;
    case ScalarType::ComplexHalf: return Scalar::kComplex32;
    case ScalarType::ComplexFloat: return Scalar::kComplex64;
    case ScalarType::ComplexDouble: return Scalar::kComplex128;
    case ScalarType::Float8_e4m3fn: return Scalar::kFloat8E4M3;
    case ScalarType::Float8_e5m2: return Scalar::kFloat8E5M2;
    default: return Scalar::kOther;
  }
}

/// Of torch's C functions, without the checks and copies of the classes around them: an executor
/// asks these of each of its buffers at every step.
inline const void* data_of(const torch::stable::Tensor& t) {
  void* data;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(t.get(), &data));
  return data;
}
inline int64_t storage_bytes_of(const torch::stable::Tensor& t) {
  int64_t bytes;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_storage_size(t.get(), &bytes));
  return bytes;
}
inline bool has_sizes(const torch::stable::Tensor& t, const int64_t* sizes, int64_t dim) {
  int64_t now, *of_it;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dim(t.get(), &now));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(t.get(), &of_it));
  return now == dim && std::equal(sizes, sizes + dim, of_it);
}
/// For a tensor of as many dimensions.
inline bool has_strides(const torch::stable::Tensor& t, const int64_t* strides, int64_t dim) {
  int64_t* of_it;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(t.get(), &of_it));
  return std::equal(strides, strides + dim, of_it);
}

/// A tensor keeps its sizes when its storage is resized or taken away.
inline void require_storage(const torch::stable::Tensor& t, const TensorView& v,
                            const char* argument) {
  if (v.numel() == 0) return;
  int64_t last = t.storage_offset();
  for (int64_t d = 0; d < v.dim; ++d) last += (v.sizes[d] - 1) * v.strides[d];
  const int64_t needed = (last + 1) * static_cast<int64_t>(t.element_size());
  const int64_t there = storage_bytes_of(t);
  if (needed > there) {
    reject(argument, "a tensor within its storage, " + std::to_string(needed) + " bytes of it",
           describe(v) + " in " + std::to_string(there) + " bytes");
  }
}

inline TensorView view(const torch::stable::Tensor& t, const char* argument) {
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
  require_memory(v, argument);
  require_storage(t, v, argument);
  return v;
}

inline TensorView view(const std::optional<torch::stable::Tensor>& t, const char* argument) {
  return t ? view(*t, argument) : TensorView();
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
