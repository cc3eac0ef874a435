// Runs of elements in vector registers, one element of which is a T, a native vector of T or
// several of them. Arithmetic is what it is on a T: fma_ and clip act lane by lane.
#pragma once

#include "core/math.h"

namespace fastdiff {

// FD_VECTOR_BYTES comes from the clone: gcc 12 does not define __AVX2__ and the like for a target
// set by a pragma.
constexpr int kVectorBytes = FD_VECTOR_BYTES;
constexpr int kVectors = 4;  // the output, x0 and a sum fit the registers

typedef float FloatVector __attribute__((vector_size(kVectorBytes)));
typedef double DoubleVector __attribute__((vector_size(kVectorBytes)));

#if FD_VECTOR_BYTES == 64
FD_HD FloatVector fma_(FloatVector a, FloatVector b, FloatVector c) {
  return (FloatVector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
FD_HD DoubleVector fma_(DoubleVector a, DoubleVector b, DoubleVector c) {
  return (DoubleVector)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif FD_VECTOR_BYTES == 32
FD_HD FloatVector fma_(FloatVector a, FloatVector b, FloatVector c) {
  return (FloatVector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
FD_HD DoubleVector fma_(DoubleVector a, DoubleVector b, DoubleVector c) {
  return (DoubleVector)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
FD_HD FloatVector fma_(FloatVector a, FloatVector b, FloatVector c) {
  for (int i = 0; i < 4; ++i) a[i] = fma_(a[i], b[i], c[i]);
  return a;
}
FD_HD DoubleVector fma_(DoubleVector a, DoubleVector b, DoubleVector c) {
  for (int i = 0; i < 2; ++i) a[i] = fma_(a[i], b[i], c[i]);
  return a;
}
#endif

namespace {  // each clone keeps its own copy

/// kCount vectors V of T: kLanes consecutive elements.
template <class T, class V, int kCount>
struct Pack {
  static constexpr int kLanes = kCount * static_cast<int>(sizeof(V) / sizeof(T));
  V v[kCount];

  static FD_MEMBER Pack load(const T* from) {
    Pack p;
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) memcpy(&p.v[j], from + j * (kLanes / kCount), sizeof(V));
    return p;
  }
  FD_MEMBER void store(T* to) const {
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) memcpy(to + j * (kLanes / kCount), &v[j], sizeof(V));
  }
};

/// sum_j coef_j operand_j in registers; an operand is a pack or lies in memory.
template <class T, class V, int kCount>
struct PackSum {
  using Terms = Pack<T, V, kCount>;
  Terms value = {};

  FD_MEMBER void add(T k, const Terms& operand) {
    const V coef = V{} + k;
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) value.v[j] = fma_(coef, operand.v[j], value.v[j]);
  }
  FD_MEMBER void add(T k, const T* operand) {
    const V coef = V{} + k;
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) {
      V v;
      memcpy(&v, operand + j * (Terms::kLanes / kCount), sizeof(V));
      value.v[j] = fma_(coef, v, value.v[j]);
    }
  }
  /// mask other + (1 - mask) this: either of them as it is where the mask is 1 or 0.
  FD_MEMBER void blend(const T* mask, const PackSum& other) {
    const Terms m = Terms::load(mask);
    FD_UNROLL
    for (int j = 0; j < kCount; ++j) {
      const V kept = (V{} + T(1) - m.v[j]) * value.v[j];
      value.v[j] = fma_(m.v[j], other.value.v[j], kept);
    }
  }
};

}  // namespace
}  // namespace fastdiff
