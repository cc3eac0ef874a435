// What torch.randn draws on the CPU from a generator, from the bytes of its state: those of
// torch.Generator.get_state(), which are moved on.
#pragma once

#include "torch/view.h"

namespace fastdiff {

/// Fills out, contiguous float32 of at least 16 numbers, with normals.
void draw_from_state(const TensorView& state, const TensorView& out);

/// Passes that many words over.
void skip_in_state(const TensorView& state, int64_t words);

}  // namespace fastdiff
