// Tensors -> StepArgs: every check of dtype, device, shape and layout, for every backend.
#pragma once

#include <utility>
#include <vector>

#include "torch/view.h"

namespace fastdiff {

struct StepTensors {
  TensorView x;        // [B, ...] float32 or float64, contiguous: the state, updated in place
  TensorView row;      // [B] int64: where each sample stands in `rows`
  TensorView rows;     // [R, kRowWidth] of x's dtype
  TensorView weights;  // [R, B, G] of x's dtype, any strides; undefined: one output, weight 1
  TensorView second_weights;  // like weights, with its strides: those of the second mix
  TensorView keys;            // [B, 2] int64
  TensorView saved;           // like x; needed when a row writes or reads s
  TensorView history;         // [slots, *x.shape]; needed when a row remembers
  TensorView z, z_prev;       // like x: noise given by the caller instead of drawn from keys
  TensorView known, mask;     // like x: what is known of the sample, and where
  TensorView threshold;       // [B] of x's dtype, scratch; needed where a row has a dynamic bound
  TensorView model_input;     // [G * B, ...]: receives the next model input
  TensorView t;               // [G * B]: receives the next timestep
  TensorView tickets;         // [B] int32 zeros, scratch of a device; undefined on the CPU
  int64_t torch_threads = 0;  // see StepArgs
  bool torch_shared = false;
};

/// Everything but the model's outputs. Throws std::invalid_argument naming the argument.
StepArgs pack_step(const StepTensors& tensors);

/// Points `args` at the model's outputs: G tensors [B, ...], or one [G * B, ...]; and at `gain`,
/// like one of the G, if it is defined. `x` is the state.
void bind_outputs(StepArgs& args, const TensorView& x, const TensorView* outputs, int64_t count,
                  const TensorView& gain);

/// Throws unless what this row (in host memory) reads and writes is bound.
void check_row(const StepArgs& args, int64_t row);

/// Throws unless every sample stands on a row of the table (in host memory), and what that row
/// reads and writes is there.
void check_rows(const StepArgs& args, bool has_outputs, bool has_gain);

/// float32, float64, bfloat16 or float16.
DType dtype_of(Scalar scalar);

/// bfloat16 -> DType::kBFloat16 ...; throws if `v` is not one of `allowed` ("a, b").
DType dtype_of(const TensorView& v, const char* argument, const char* allowed);

}  // namespace fastdiff
