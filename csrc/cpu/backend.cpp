#include "cpu/backend.h"

#include <cstring>

namespace fastdiff::cpu {

int available(const Backend* (&clones)[3]) {
  int n = 0;
#ifdef FD_X86_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) clones[n++] = &avx512();
  if (__builtin_cpu_supports("x86-64-v3")) clones[n++] = &avx2();
#endif
  clones[n++] = &baseline();
  return n;
}

static const Backend*& in_use() {
  static const Backend* chosen = [] {
    const Backend* clones[3];
    available(clones);
    return clones[0];
  }();
  return chosen;
}

const Backend& backend() { return *in_use(); }

bool select(const char* name) {
  const Backend* clones[3];
  const int n = available(clones);
  for (int i = 0; i < n; ++i) {
    if (std::strcmp(clones[i]->name, name) == 0) {
      in_use() = clones[i];
      return true;
    }
  }
  return false;
}

}  // namespace fastdiff::cpu
