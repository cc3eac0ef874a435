// The standard headers come first: they are to be compiled for the baseline.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "cpu/backend.h"
#ifdef FD_X86_CLONES
#include <immintrin.h>

#pragma GCC target("arch=x86-64-v3")
#define FD_CLONE avx2
#define FD_VECTOR_BYTES 32
#include "cpu/clone.h"
#endif
