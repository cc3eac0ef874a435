// Tensors -> StepArgs: every check of dtype, device, shape and layout, for every backend.
#pragma once

#include <utility>
#include <vector>

#include "torch/view.h"

namespace fastdiff {

/// The operands that a step has bound, of whatever form `V` a tensor has at that stage.
template <class V>
struct StepOperands {
  V x;               // [B, ...] float32 or float64, contiguous: the state, updated in place
  V row;             // [B] int64: where each sample stands in `rows`
  V rows;            // [R, kRowWidth] of x's dtype
  V weights;         // [R, B, G] of x's dtype, any strides; undefined: one output, weight 1
  V keys;            // [B, 2] int64
  V saved;           // like x; needed when a row writes or reads s
  V history;         // [slots, *x.shape]; needed when a row remembers
  V z, z_prev;       // like x: noise given by the caller instead of drawn from keys
  V model_input;     // [G * B, ...]: receives the next model input
  V t;               // [G * B]: receives the next timestep
  V second_weights;  // like weights, with its strides: those of the second mix
  V known, mask;     // like x: what is known of the sample, and where
  V threshold;       // [B] of x's dtype, scratch; needed where a row has a dynamic bound
  V tickets;         // [B] int32 zeros, scratch of a device; undefined on the CPU
};

/// f(name, a.operand, b.operand) for every operand.
template <class A, class B, class F>
void each_operand(A& a, B& b, const F& f) {
  f("x", a.x, b.x), f("row", a.row, b.row), f("rows", a.rows, b.rows);
  f("weights", a.weights, b.weights), f("keys", a.keys, b.keys), f("saved", a.saved, b.saved);
  f("history", a.history, b.history), f("z", a.z, b.z), f("z_prev", a.z_prev, b.z_prev);
  f("model_input", a.model_input, b.model_input), f("t", a.t, b.t);
  f("second_weights", a.second_weights, b.second_weights);
  f("known", a.known, b.known), f("mask", a.mask, b.mask);
  f("threshold", a.threshold, b.threshold), f("tickets", a.tickets, b.tickets);
}

using StepTensors = StepOperands<TensorView>;

/// Everything but the model's outputs. Throws std::invalid_argument naming the argument.
StepArgs pack_step(const StepTensors& tensors);

/// Points `args` at the model's outputs: G tensors [B, ...], or one [G * B, ...]; and at `gain`,
/// like one of the G, if it is defined. Without outputs `args` holds none: those of an earlier call
/// are forgotten. `x` is the state.
void bind_outputs(StepArgs& args, const TensorView& x, const TensorView* outputs, int64_t count,
                  const TensorView& gain);

/// Throws unless what this row (in host memory) reads and writes is bound.
void check_row(const StepArgs& args, int64_t row);

/// Throws unless every sample stands on a row of the table (in host memory), and what that row
/// reads and writes is there. Returns whether a sample is unfinished.
bool check_rows(const StepArgs& args, bool has_outputs, bool has_gain);

/// float32, float64, bfloat16 or float16.
DType dtype_of(Scalar scalar);

/// bfloat16 -> DType::kBFloat16 ...; throws if `v` is not one of `allowed` ("a, b").
DType dtype_of(const TensorView& v, const char* argument, const char* allowed);

}  // namespace fastdiff
