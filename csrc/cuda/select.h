// An order statistic of a sample by a team: radix selection from the highest byte on.
#pragma once

#include <type_traits>

#include "core/math.h"
#include "cuda/team.h"

namespace fastdiff::cuda {

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
struct Selection {
  unsigned long long count[256];
  Bits<T> prefix;
  int64_t left;
};

/// Magnitudes are ordered as their bits are, NaN above all; -0 is none of them.
template <class T>
FD_HD Bits<T> order_of(T magnitude) {
  return bit_cast<Bits<T>>(magnitude) & (~Bits<T>(0) >> 1);
}

/// The number of rank `rank` (from 0) among magnitude(i), i < numel. `scratch` is the team's.
template <class T, class Magnitude>
FD_HD T select_rank(const Team& team, Selection<T>& scratch, int64_t numel, int64_t rank,
                    const Magnitude& magnitude) {
  if (team.thread == 0) scratch.prefix = 0, scratch.left = rank;
  for (int shift = 8 * sizeof(T) - 8; shift >= 0; shift -= 8) {
    team.each(256, [&](int64_t i) { scratch.count[i] = 0; });
    team.sync();
    const Bits<T> above = shift + 8 == 8 * sizeof(T) ? 0 : ~Bits<T>(0) << (shift + 8);
    team.each(numel, [&](int64_t i) {
      const Bits<T> bits = order_of<T>(magnitude(i));
      if ((bits & above) == scratch.prefix) Team::add(&scratch.count[(bits >> shift) & 255], 1ull);
    });
    team.sync();
    if (team.thread == 0) {
      int byte = 0;
      while (scratch.left >= static_cast<int64_t>(scratch.count[byte])) {
        scratch.left -= static_cast<int64_t>(scratch.count[byte++]);
      }
      scratch.prefix |= static_cast<Bits<T>>(byte) << shift;
    }
    team.sync();
  }
  const T value = bit_cast<T>(scratch.prefix);
  team.sync();  // before the next selection
  return value;
}

}  // namespace fastdiff::cuda
