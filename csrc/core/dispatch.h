// The single switch from a runtime dtype to a type.
#pragma once

#include "core/convert.h"
#include "core/launch.h"

namespace fastdiff {

template <class T>
struct TypeTag {
  using type = T;
};

// A function of the host cannot be handed to one that a device runs, too: the switch exists twice.
#define FD_WITH_DTYPE(space, name)                          \
  template <class F>                                        \
  space void name(DType dtype, const F& f) {                \
    switch (dtype) {                                        \
      case DType::kFloat32: return f(TypeTag<float>{});     \
      case DType::kFloat64: return f(TypeTag<double>{});    \
      case DType::kBFloat16: return f(TypeTag<BFloat16>{}); \
      case DType::kFloat16: return f(TypeTag<Float16>{});   \
    }                                                       \
  }
FD_WITH_DTYPE(FD_HD, with_dtype)
FD_WITH_DTYPE(FD_HOST, with_dtype_on_host)
#undef FD_WITH_DTYPE

}  // namespace fastdiff
