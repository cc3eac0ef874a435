// The one place that knows which compiler reads the core headers.
#pragma once

#include <cstdint>

// On the host alone.
#define FD_HOST static inline __attribute__((always_inline))
#if defined(__CUDACC__)
#define FD_HD static __host__ __device__ __forceinline__
#define FD_MEMBER __host__ __device__ __forceinline__
#define FD_UNROLL _Pragma("unroll")
#define FD_SEVERAL _Pragma("unroll 8")
#define FD_ROLLED _Pragma("unroll 1")
#define FD_RARE static __host__ __device__ __noinline__  // one copy, called
#else
// Always inlined, so that each CPU clone holds its own copy compiled for its own instruction set:
// an ordinary inline function would be merged by the linker, and the AVX-512 copy might win.
#define FD_HD static inline __attribute__((always_inline))
#define FD_MEMBER inline __attribute__((always_inline))
#define FD_RARE static inline
#define FD_SEVERAL
#define FD_ROLLED
#define FD_UNROLL \
  _Pragma("GCC unroll 16")  // gcc vectorises a loop only if its inner loops are gone
#endif
