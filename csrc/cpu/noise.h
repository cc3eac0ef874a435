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
