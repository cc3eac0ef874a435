// A tensor as the checks need it, whether it came through the dispatcher or through DLPack.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#include "core/launch.h"

namespace fastdiff {

enum class Scalar : int32_t {
  kFloat32,
  kFloat64,
  kBFloat16,
  kFloat16,
  kInt64,
  kInt32,
  kUInt8,
  // no operation takes these, but errors name them
  kInt8,
  kInt16,
  kUInt16,
  kUInt32,
  kUInt64,
  kBool,
  kComplex32,
  kComplex64,
  kComplex128,
  kFloat8E4M3,
  kFloat8E5M2,
  kOther
};

struct TensorView {
  void* data = nullptr;
  Scalar dtype = Scalar::kOther;
  int32_t device_type = 0;  // of DLPack: 1 is the CPU, 2 is CUDA
  int32_t device_index = 0;
  int64_t dim = 0;
  const int64_t* sizes = nullptr;
  const int64_t* strides = nullptr;

  bool defined() const { return sizes != nullptr; }
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t d = 0; d < dim; ++d) n *= sizes[d];
    return n;
  }
  bool contiguous() const {
    if (numel() == 0) return true;
    int64_t expected = 1;
    for (int64_t d = dim - 1; d >= 0; --d) {
      if (sizes[d] != 1 && strides[d] != expected) return false;
      expected *= sizes[d];
    }
    return true;
  }
};

inline const char* name_of(Scalar s) {
  static const char* const names[] = {"float32",       "float64",     "bfloat16",     "float16",
                                      "int64",         "int32",       "uint8",        "int8",
                                      "int16",         "uint16",      "uint32",       "uint64",
                                      "bool",          "complex32",   "complex64",    "complex128",
                                      "float8_e4m3fn", "float8_e5m2", "another dtype"};
  return names[static_cast<int>(s)];
}

/// "[2, 3]"
inline std::string text_of(const int64_t* numbers, int64_t count) {
  std::ostringstream text;
  text << "[";
  for (int64_t d = 0; d < count; ++d) text << (d ? ", " : "") << numbers[d];
  text << "]";
  return text.str();
}

inline std::string device_of(const TensorView& v) {
  if (v.device_type == 1) return "cpu";
  return v.device_type == 2 ? "cuda:" + std::to_string(v.device_index) : "another device";
}

inline std::string describe(const TensorView& v) {
  if (!v.defined()) return "None";
  return name_of(v.dtype) + (" " + text_of(v.sizes, v.dim)) + " on " + device_of(v);
}

/// Raises ValueError (std::invalid_argument): "<argument>: expected <expected>, got <got>".
[[noreturn]] inline void reject(const std::string& argument, const std::string& expected,
                                const std::string& got) {
  throw std::invalid_argument(argument + ": expected " + expected + ", got " + got);
}

/// Tensors of a tracing mode, and those whose storage was taken away, have sizes and no memory.
inline void require_memory(const TensorView& v, const char* argument) {
  if (!v.data && v.numel() > 0) reject(argument, "a tensor in memory", describe(v) + " without");
}

}  // namespace fastdiff
