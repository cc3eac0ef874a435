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
FD_HD void operator+=(Lanes& a, uint32_t k) { a.v += k; }

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

/// The blocks `block` of keys (k0, k1), to place `at` of `words`.
template <class K>
void put_words(Lanes::Vector block, K k0, K k1, int at, BlockWords& words) {
  const Lanes zero = {block ^ block};
  const BasicWords<Lanes> w = philox<Lanes>({{block}, {block >> 32}, zero, zero}, k0, k1);
  store(w.w0, words.w0 + at);
  store(w.w1, words.w1 + at);
  store(w.w2, words.w2 + at);
  store(w.w3, words.w3 + at);
}

void fill_words(uint64_t seed, uint64_t first_block, int blocks, BlockWords& words) {
  Lanes::Vector block;
  for (int lane = 0; lane < kLanes; ++lane) block[lane] = first_block + static_cast<uint64_t>(lane);
  for (int i = 0; i < blocks; i += kLanes, block += kLanes) {
    put_words(block, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), i, words);
  }
}

/// One block of each of several streams.
void fill_words(const uint64_t* seeds, const uint64_t* numbers, int blocks, BlockWords& words) {
  for (int i = 0; i < blocks; i += kLanes) {
    Lanes::Vector seed, block;
    memcpy(&seed, seeds + i, sizeof(seed));
    memcpy(&block, numbers + i, sizeof(block));
    put_words(block, Lanes{seed}, Lanes{seed >> 32}, i, words);
  }
}
#else
void put_words(const Words& w, int at, BlockWords& words) {
  words.w0[at] = w.w0;
  words.w1[at] = w.w1;
  words.w2[at] = w.w2;
  words.w3[at] = w.w3;
}

void fill_words(uint64_t seed, uint64_t first_block, int blocks, BlockWords& words) {
#pragma GCC ivdep
  for (int i = 0; i < blocks; ++i) {
    put_words(philox_block(seed, first_block + static_cast<uint64_t>(i)), i, words);
  }
}

void fill_words(const uint64_t* seeds, const uint64_t* numbers, int blocks, BlockWords& words) {
#pragma GCC ivdep
  for (int i = 0; i < blocks; ++i) put_words(philox_block(seeds[i], numbers[i]), i, words);
}
#endif

/// `blocks` in whole groups.
int in_groups(int64_t blocks) {
  return static_cast<int>((blocks + kBlockGroup - 1) / kBlockGroup) * kBlockGroup;
}

/// Four float32 normals of each block.
void normals_of(const BlockWords& words, int blocks, float* out) {
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

/// The first n <= kTile float32 normals of the stream from `first_block` on.
/// `out` has room for kTile: whole groups of blocks are written.
void normals(uint64_t seed, uint64_t first_block, int64_t n, float* out) {
  BlockWords words;
  const int blocks = in_groups((n + 3) / 4);
  fill_words(seed, first_block, blocks, words);
  normals_of(words, blocks, out);
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

/// Streams of n numbers, n <= kTile, that share the blocks of one tile.
int64_t streams_of_tile(int64_t n) { return kBlocks / ((n + 3) / 4); }

/// The first n float32 normals of each of several streams, `keys` [streams, 2], one after the
/// other; no more streams than streams_of_tile(n).
void normals_of_each(const int64_t* keys, int64_t streams, int64_t n, float* out) {
  const int64_t each = (n + 3) / 4, padded = in_groups(streams * each);
  uint64_t seeds[kBlocks], numbers[kBlocks];
  for (int64_t i = 0, stream = 0, part = 0; i < padded; ++i) {
    seeds[i] = static_cast<uint64_t>(keys[2 * stream]);
    numbers[i] = static_cast<uint64_t>(keys[2 * stream + 1]) + static_cast<uint64_t>(part);
    if (++part < each) continue;
    part = 0;
    stream = stream + 1 < streams ? stream + 1 : stream;
  }
  BlockWords words;
  alignas(64) float drawn[kTile];
  fill_words(seeds, numbers, static_cast<int>(padded), words);
  normals_of(words, static_cast<int>(padded), drawn);
  for (int64_t k = 0; k < streams; ++k) memcpy(out + k * n, drawn + 4 * each * k, n * sizeof(*out));
}

}  // namespace
}  // namespace fastdiff
