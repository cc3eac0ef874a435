// Random steps on every clone: to be built with -fsanitize=...
// The clones have to agree bit for bit. Exit status 0: they do, and nothing was out of bounds.
#include "random_case.h"

int main() {
  const Backend* clones[3];
  const int n = cpu::available(clones);
  for (int i = 0; i < 3000; ++i) {
    const Case c = random_case();
    const auto expected = run(*clones[0], c);
    for (int k = 1; k < n; ++k) {
      if (run(*clones[k], c) != expected) {
        std::printf("case %d: %s and %s differ\n", i, clones[k]->name, clones[0]->name);
        return 1;
      }
    }
  }
  std::printf("3000 cases, %d clones agree\n", n);
}
