// What torch.randn draws on the CPU from a generator, from the bytes of its state.
#pragma once

#include "torch/view.h"

namespace fastdiff {

/// Fills out, contiguous float32 of at least 16 numbers, with normals and moves the state on.
/// state: the bytes of torch.Generator.get_state().
void draw_from_state(const TensorView& state, const TensorView& out);

}  // namespace fastdiff
