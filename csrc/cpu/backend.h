// The CPU backend exists in up to three clones of the same source, one per instruction set.
#pragma once

#include "core/launch.h"

namespace fastdiff::cpu {

const Backend& baseline();
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FD_X86_CLONES 1
const Backend& avx2();    // x86-64-v3
const Backend& avx512();  // x86-64-v4
#endif

/// Clones that this processor can run, the fastest first; returns how many were written.
int available(const Backend* (&clones)[3]);

/// The clone in use: the fastest available one, until select() names another.
const Backend& backend();

/// Makes the named clone the one in use (tests compare them); false if it cannot run here.
bool select(const char* name);

}  // namespace fastdiff::cpu
