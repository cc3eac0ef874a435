// A matrix copied with rows for columns.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/convert.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

/// to[c][r] = from[r][c] for four of each, in registers.
template <class T>
FD_MEMBER void turn_block(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  typedef T Four __attribute__((vector_size(4 * sizeof(T))));
  Four row[4], column[4];
  FD_UNROLL
  for (int r = 0; r < 4; ++r) memcpy(&row[r], from + r * from_stride, sizeof(Four));
  const Four low = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Four high = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Four next_low = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Four next_high = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  column[0] = __builtin_shufflevector(low, next_low, 0, 1, 4, 5);
  column[1] = __builtin_shufflevector(low, next_low, 2, 3, 6, 7);
  column[2] = __builtin_shufflevector(high, next_high, 0, 1, 4, 5);
  column[3] = __builtin_shufflevector(high, next_high, 2, 3, 6, 7);
  FD_UNROLL
  for (int c = 0; c < 4; ++c) memcpy(to + c * to_stride, &column[c], sizeof(Four));
}

/// to[c][r] = from[r][c] for so many rows and columns, in blocks where both are of one type.
template <class From, class To>
void turn(int64_t rows, int64_t columns, const From* from, int64_t from_stride, To* to,
          int64_t to_stride) {
  int64_t r = 0;
  if constexpr (std::is_same_v<From, To>) {
    for (; r + 4 <= rows; r += 4) {
      int64_t c = 0;
      for (; c + 4 <= columns; c += 4) {
        turn_block(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
      }
      for (; c < columns; ++c) {
        FD_UNROLL
        for (int64_t i = r; i < r + 4; ++i) to[c * to_stride + i] = from[i * from_stride + c];
      }
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      from_float(to_float(from[r * from_stride + c]), to[c * to_stride + r]);
    }
  }
}

}  // namespace
}  // namespace fastdiff
