// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A pure function of (key, counter): no state, so a sample's noise cannot depend on its neighbours.
#pragma once

#include "core/macros.h"

namespace fastdiff {

template <class W>
struct BasicWords {
  W w0, w1, w2, w3;
};
using Words = BasicWords<uint32_t>;

FD_HD void multiply(uint32_t constant, uint32_t w, uint32_t& high, uint32_t& low) {
  const uint64_t product = static_cast<uint64_t>(constant) * w;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

/// One block of 128 random bits for counter words c and key (k0, k1). W is uint32_t, or a backend's
/// vector of words with its own multiply() and operator^; so is K, which also needs operator+=.
template <class W, class K>
FD_HD BasicWords<W> philox(BasicWords<W> c, K k0, K k1) {
  FD_UNROLL
  for (int round = 0; round < 10; ++round) {
    W high0, low0, high1, low1;
    multiply(0xD2511F53u, c.w0, high0, low0);
    multiply(0xCD9E8D57u, c.w2, high1, low1);
    c = {high1 ^ c.w1 ^ k0, low1, high0 ^ c.w3 ^ k1, low0};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// Block `block` of the stream `seed`: the counter is (low, high, 0, 0), as in torch.func._random.
FD_HD Words philox_block(uint64_t seed, uint64_t block) {
  return philox<uint32_t>(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0u, 0u},
      static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

}  // namespace fastdiff
