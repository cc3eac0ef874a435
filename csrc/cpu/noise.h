// Normals of one Philox stream, 64 blocks at a time: arrays of words, so that every step of the
// cipher and of Box-Muller is one vector loop.
#pragma once

#include "core/launch.h"
#include "core/normal.h"

namespace fastdiff {
namespace {  // each clone keeps its own copy

constexpr int kBlocks = kTile / 4;
constexpr int kBlockGroup = 16;  // loops run over whole groups: a vector loop without a remainder

struct BlockWords {
  alignas(64) uint32_t w0[kBlocks], w1[kBlocks], w2[kBlocks], w3[kBlocks];
};

#if FD_VECTOR_BYTES > 16
// A word in the low half of each 64-bit lane: the 32 x 32 bit product of a lane is one instruction,
// and what the cipher leaves in the high halves is never read.
constexpr int kLanes = FD_VECTOR_BYTES / 8;
struct Lanes {
  typedef uint64_t Vector __attribute__((vector_size(FD_VECTOR_BYTES)));
  Vector v;
};
FD_HD Lanes operator^(Lanes a, Lanes b) { return {a.v ^ b.v}; }
FD_HD Lanes operator^(Lanes a, uint32_t k) { return {a.v ^ k}; }

FD_HD void multiply(uint32_t constant, Lanes w, Lanes& high, Lanes& low) {
#if FD_VECTOR_BYTES == 64
  low.v = (Lanes::Vector)_mm512_mul_epu32((__m512i)w.v, _mm512_set1_epi64(constant));
#else
  low.v = (Lanes::Vector)_mm256_mul_epu32((__m256i)w.v, _mm256_set1_epi64x(constant));
#endif
  high.v = low.v >> 32;
}

FD_HD void store(Lanes w, uint32_t* to) {
  typedef uint32_t Half __attribute__((vector_size(FD_VECTOR_BYTES / 2)));
  const Half low = __builtin_convertvector(w.v, Half);
  memcpy(to, &low, sizeof(low));
}

void fill_words(uint64_t seed, uint64_t first_block, int blocks, BlockWords& words) {
  Lanes::Vector block;
  for (int lane = 0; lane < kLanes; ++lane) block[lane] = first_block + static_cast<uint64_t>(lane);
  const Lanes zero = {block ^ block};
  for (int i = 0; i < blocks; i += kLanes, block += kLanes) {
    const BasicWords<Lanes> w =
        philox<Lanes>({{block}, {block >> 32}, zero, zero}, static_cast<uint32_t>(seed),
                      static_cast<uint32_t>(seed >> 32));
    store(w.w0, words.w0 + i);
    store(w.w1, words.w1 + i);
    store(w.w2, words.w2 + i);
    store(w.w3, words.w3 + i);
  }
}
#else
void fill_words(uint64_t seed, uint64_t first_block, int blocks, BlockWords& words) {
#pragma GCC ivdep
  for (int i = 0; i < blocks; ++i) {
    const Words w = philox_block(seed, first_block + static_cast<uint64_t>(i));
    words.w0[i] = w.w0;
    words.w1[i] = w.w1;
    words.w2[i] = w.w2;
    words.w3[i] = w.w3;
  }
}
#endif

/// The first n <= kTile float32 normals of the stream from `first_block` on.
/// `out` has room for kTile: whole groups of blocks are written.
void normals(uint64_t seed, uint64_t first_block, int64_t n, float* out) {
  BlockWords words;
  const int groups = static_cast<int>((n + 4 * kBlockGroup - 1) / (4 * kBlockGroup));
  const int blocks = groups * kBlockGroup;
  fill_words(seed, first_block, blocks, words);
#pragma GCC ivdep
  for (int i = 0; i < blocks; ++i) {
    const NormalPair<float> p = normal_pair(words.w0[i], words.w1[i]);
    const NormalPair<float> q = normal_pair(words.w2[i], words.w3[i]);
    out[4 * i] = p.first;
    out[4 * i + 1] = p.second;
    out[4 * i + 2] = q.first;
    out[4 * i + 3] = q.second;
  }
}

/// The first n float64 normals: two to a block.
void normals(uint64_t seed, uint64_t first_block, int64_t n, double* out) {
  for (int64_t i = 0; i < (n + 1) / 2; ++i) {
    const NormalPair<double> p =
        normal_pair(philox_block(seed, first_block + static_cast<uint64_t>(i)));
    out[2 * i] = p.first;
    out[2 * i + 1] = p.second;
  }
}

}  // namespace
}  // namespace fastdiff
