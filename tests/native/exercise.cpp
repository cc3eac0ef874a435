// Random steps and passes on every clone: to be built with -fsanitize=...
// The clones have to agree bit for bit. Exit status 0: they do, and nothing was out of bounds.
#include "random_pass.h"

template <class Make>
static bool clones_agree(const char* what, int cases, const Make& make) {
  const Backend* clones[3];
  const int n = cpu::available(clones);
  for (int i = 0; i < cases; ++i) {
    const auto c = make();
    const auto expected = run(*clones[0], c);
    for (int k = 1; k < n; ++k) {
      if (run(*clones[k], c) != expected) {
        std::printf("%s %d: %s and %s differ\n", what, i, clones[k]->name, clones[0]->name);
        return false;
      }
    }
  }
  std::printf("%s: %d cases, %d clones agree\n", what, cases, n);
  return true;
}

int main() {
  return clones_agree("step", 3000, random_case) && clones_agree("pass", 4000, random_pass) ? 0 : 1;
}
