// The single switch from a runtime dtype to a type.
#pragma once

#include "core/convert.h"
#include "core/launch.h"

namespace fastdiff {

template <class T>
struct TypeTag {
  using type = T;
};

template <class F>
FD_HD void with_dtype(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kFloat32: return f(TypeTag<float>{});
    case DType::kFloat64: return f(TypeTag<double>{});
    case DType::kBFloat16: return f(TypeTag<BFloat16>{});
    case DType::kFloat16: return f(TypeTag<Float16>{});
  }
}

}  // namespace fastdiff
