// float32 <-> bfloat16 and float16 by integer arithmetic: branch-free, so compilers vectorise it,
// and the same bits on every machine. Rounding is to nearest even; a NaN stays a (quiet) NaN.
#pragma once

#include "core/math.h"

namespace fastdiff {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

FD_HD float to_float(float v) { return v; }
FD_HD double to_float(double v) { return v; }

FD_HD float to_float(BFloat16 v) { return bit_cast<float>(static_cast<uint32_t>(v.bits) << 16); }

FD_HD float to_float(Float16 v) {
  const uint32_t sign = (v.bits & 0x8000u) << 16, magnitude = (v.bits & 0x7fffu) << 13;
  // Exponent bias 15 -> 127 by an exact multiplication, which also normalises subnormals.
  const uint32_t finite = bit_cast<uint32_t>(bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude | 0x7f800000u;
  return bit_cast<float>((magnitude >= 0x0f800000u ? special : finite) | sign);
}

FD_HD void from_float(float v, float& to) { to = v; }
FD_HD void from_float(double v, double& to) { to = v; }
FD_HD void from_float(double v, float& to) { to = static_cast<float>(v); }

FD_HD void from_float(float v, BFloat16& to) {
  const uint32_t bits = bit_cast<uint32_t>(v);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  to.bits = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}

FD_HD void from_float(float v, Float16& to) {
  const uint32_t bits = bit_cast<uint32_t>(v), magnitude = bits & 0x7fffffffu;
  // Normal results: rebias the exponent, round away 13 bits.
  const uint32_t normal = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal results (below 2^-14): adding 0.5 aligns the mantissa and rounds it.
  const uint32_t tiny =
      bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - bit_cast<uint32_t>(0.5f);
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t finite = magnitude < 0x38800000u ? tiny : normal;
  const uint32_t half = magnitude >= 0x477ff000u ? special : finite;
  to.bits = static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
}

template <class Half>
FD_HD void from_float(double v, Half& to) {
  from_float(static_cast<float>(v), to);
}

}  // namespace fastdiff
