// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A pure function of (key, counter): no state, so a sample's noise cannot depend on its neighbours.
#pragma once

#include "core/macros.h"

namespace fastdiff {

struct Words {
  uint32_t w0, w1, w2, w3;
};

/// One block of 128 random bits for counter words c and key (k0, k1).
FD_HD Words philox(Words c, uint32_t k0, uint32_t k1) {
  FD_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53u) * c.w0;
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57u) * c.w2;
    c = {static_cast<uint32_t>(product1 >> 32) ^ c.w1 ^ k0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ c.w3 ^ k1, static_cast<uint32_t>(product0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// Block `block` of the stream `seed`: the counter is (low, high, 0, 0), as in torch.func._random.
FD_HD Words philox_block(uint64_t seed, uint64_t block) {
  return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0u, 0u},
                static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

}  // namespace fastdiff
