// Runs of consecutive elements in one thread, moved in 16-byte accesses where the layout allows.
#pragma once

#include <type_traits>

#include "core/convert.h"

namespace fastdiff::cuda {

struct alignas(16) Bits128 {
  uint32_t w[4];
};
struct alignas(8) Bits64 {
  uint32_t w[2];
};
struct Bits32 {
  uint32_t w;
};

/// A run of a thread in registers.
template <class T, int E>
struct alignas(16) Run {
  T v[E];
};

template <class M, int E>
FD_HD void load_whole(const M* from, M* to) {
  constexpr int kBytes = E * static_cast<int>(sizeof(M));
  using Small = std::conditional_t<kBytes % 8 == 0, Bits64, Bits32>;
  using Bits = std::conditional_t<kBytes % 16 == 0, Bits128, Small>;
  FD_UNROLL
  for (int i = 0; i < kBytes / static_cast<int>(sizeof(Bits)); ++i) {
    reinterpret_cast<Bits*>(to)[i] = reinterpret_cast<const Bits*>(from)[i];
  }
}

/// How a thread reaches memory. A test has one of its own that counts.
struct Memory {
  /// to[0 .. n) = from[0 .. n); `whole`: n is E and `from` is aligned for wide accesses.
  template <class M, int E>
  FD_MEMBER static void load(const M* from, int n, bool whole, Run<M, E>& to) {
    if (whole) return load_whole<M, E>(from, to.v);
    FD_UNROLL
    for (int i = 0; i < E; ++i) to.v[i] = i < n ? from[i] : M{};
  }
  template <class M, int E>
  FD_MEMBER static void store(const Run<M, E>& from, int n, bool whole, M* to) {
    if (whole) return load_whole<M, E>(from.v, to);
    FD_UNROLL
    for (int i = 0; i < E; ++i) {
      if (i < n) to[i] = from.v[i];
    }
  }
};

/// sum_j coef_j operand_j in registers.
template <class T, int E>
struct RunSum {
  Run<T, E> value = {};

  FD_MEMBER void add(T k, const Run<T, E>& operand) {
    FD_UNROLL
    for (int i = 0; i < E; ++i) value.v[i] = fma_(k, operand.v[i], value.v[i]);
  }
  FD_MEMBER void blend(const Run<T, E>& mask, const RunSum& other) {
    FD_UNROLL
    for (int i = 0; i < E; ++i) {
      const T kept = (T(1) - mask.v[i]) * value.v[i];
      value.v[i] = fma_(mask.v[i], other.value.v[i], kept);
    }
  }
};

}  // namespace fastdiff::cuda
