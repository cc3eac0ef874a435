// The normals that torch.randn draws from a CUDA generator, element by element: cuRAND's Philox
// with one subsequence per thread of torch's launch. The mapping is torch's, not ours: it is probed
// before it is used.
#pragma once

#include <cmath>

#include "core/philox.h"

namespace fastdiff::cuda {

/// Philox blocks by which one draw of `numel` float32 normals advances the generator.
FD_HD uint64_t torch_blocks_of_draw(int64_t numel, int64_t threads) {
  return static_cast<uint64_t>((numel - 1) / (4 * threads) + 1);
}

/// Element i of torch.randn for a generator with this seed and offset (in blocks of four words).
/// threads: of torch's launch, min(ceil(numel / 256), SMs * (threads of an SM / 256)) * 256.
FD_RARE float torch_normal(uint64_t seed, uint64_t offset, int64_t i, int64_t threads) {
  const uint64_t subsequence = static_cast<uint64_t>(i % threads);
  const uint64_t pass = static_cast<uint64_t>(i / threads);
  const uint64_t block = offset + pass / 4;
  const Words w = philox<uint32_t>(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
       static_cast<uint32_t>(subsequence), static_cast<uint32_t>(subsequence >> 32)},
      static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const bool second = pass & 2;  // lanes 0 and 1 come from words 0 and 1, the others from 2 and 3
  const float x = static_cast<float>(second ? w.w2 : w.w0);
  const float y = static_cast<float>(second ? w.w3 : w.w1);
  const float turn = 6.2831855f * 0x1p-32f;
  const float u = fmaf(x, 0x1p-32f, 0x1p-33f), v = fmaf(y, turn, turn / 2);
  const float radius = sqrtf(-2.0f * logf(u));
#if defined(__CUDA_ARCH__)
  float sine, cosine;
  __sincosf(v, &sine, &cosine);
#else
  const float sine = sinf(v), cosine = cosf(v);
#endif
  return radius * (pass & 1 ? cosine : sine);
}

}  // namespace fastdiff::cuda
