// Memory of the CUDA kernels' thread bodies that tells the walk what they do with it.
#pragma once

#include <unordered_map>

#include "cuda/access.h"

using namespace fastdiff;

/// Counts how often each address is written.
struct Counting {
  static inline std::unordered_map<const void*, int> writes;

  template <class M, int E>
  static void load(const M* from, int n, bool whole, cuda::Run<M, E>& to) {
    cuda::Memory::load<M, E>(from, n, whole, to);
  }
  template <class M, int E>
  static void store(const cuda::Run<M, E>& from, int n, bool whole, M* to) {
    cuda::Memory::store<M, E>(from, n, whole, to);
    for (int i = 0; i < n; ++i) ++writes[to + i];
  }
};

/// Touches nothing, remembers what would have been read and written.
struct Addresses {
  static inline const void* read = nullptr;
  static inline const void* written = nullptr;

  template <class M, int E>
  static void load(const M* from, int, bool, cuda::Run<M, E>& to) {
    to = {};
    read = from;
  }
  template <class M, int E>
  static void store(const cuda::Run<M, E>&, int, bool, M* to) {
    written = to;
  }
};
