// Words of the cipher as the native code makes them; built once for each instruction set. Reads
// lines of hexadecimal numbers and writes the four words, or four for each block, of each:
//   cipher COUNTER0..3 KEY0 KEY1
//   stream SEED FIRST_BLOCK BLOCKS
#if FD_VECTOR_BYTES > 16
#include <immintrin.h>
#endif

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "cpu/noise.h"

using namespace fastdiff;

static void print(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  std::printf("%08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32 "\n", a, b, c, d);
}

int main() {
  char what[8];
  while (std::scanf("%7s", what) == 1) {
    if (std::strcmp(what, "cipher") == 0) {
      uint32_t n[6];
      for (uint32_t& word : n)
        if (std::scanf("%" SCNx32, &word) != 1) return 1;
      const Words w = philox<uint32_t>({n[0], n[1], n[2], n[3]}, n[4], n[5]);
      print(w.w0, w.w1, w.w2, w.w3);
    } else {
      uint64_t seed, first, blocks;
      if (std::scanf("%" SCNx64 "%" SCNx64 "%" SCNx64, &seed, &first, &blocks) != 3) return 1;
      BlockWords w;
      fill_words(seed, first, in_groups(static_cast<int64_t>(blocks)), w);
      for (uint64_t i = 0; i < blocks; ++i) print(w.w0[i], w.w1[i], w.w2[i], w.w3[i]);
    }
  }
}
