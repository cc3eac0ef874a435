// Tensors -> StepArgs: every check of dtype, device, shape and layout, for every backend.
#pragma once

#include <vector>

#include "torch/view.h"

namespace fastdiff {

struct StepTensors {
  TensorView x;            // [B, ...] float32 or float64, contiguous: the state, updated in place
  TensorView row;          // [B] int64: where each sample stands in `rows`
  TensorView rows;         // [R, 32] of x's dtype
  TensorView weights;      // [R, B, G] of x's dtype, any strides; undefined: one output, weight 1
  TensorView keys;         // [B, 2] int64
  TensorView saved;        // like x; needed when a row writes or reads s
  TensorView history;      // [slots, *x.shape]; needed when a row remembers
  TensorView z, z_prev;    // like x: noise given by the caller instead of drawn from keys
  TensorView model_input;  // [G * B, ...]: receives the next model input
  TensorView t;            // [G * B]: receives the next timestep
};

/// Everything but the model's outputs. Throws std::invalid_argument naming the argument.
StepArgs pack_step(const StepTensors& tensors);

/// Points `args` at the model's outputs: G tensors [B, ...], or one [G * B, ...]. `shape` is x's.
void bind_outputs(StepArgs& args, const TensorView& x, const TensorView* outputs, int64_t count);

/// Throws unless what this row (in host memory) reads and writes is bound.
void check_row(const StepArgs& args, int64_t row);

/// True if this row (in host memory) reads the model's outputs.
bool needs_output(const StepArgs& args, int64_t row);

/// Throws unless every row index (in host memory) lies inside the table.
void check_counters(const StepArgs& args);

/// bfloat16 -> DType::kBFloat16 ...; throws if `v` is not one of `allowed` ("a, b").
DType dtype_of(const TensorView& v, const char* argument, const char* allowed);

}  // namespace fastdiff
