// Tensors -> StepArgs: every check of dtype, device, shape and layout, for every backend.
#pragma once

#include <utility>
#include <vector>

#include "torch/view.h"

namespace fastdiff {

/// The operands that a step has bound, of whatever form `V` a tensor has at that stage.
template <class V>
struct StepOperands {
#define FD_OPERAND(type, name, dtype, shape, need) V name;
  FD_STEP_OPERANDS(FD_OPERAND)
#undef FD_OPERAND
};

/// f(name, a.operand, b.operand) for every operand.
template <class A, class B, class F>
void each_operand(A& a, B& b, const F& f) {
#define FD_EACH(type, name, dtype, shape, need) f(#name, a.name, b.name);
  FD_STEP_OPERANDS(FD_EACH)
#undef FD_EACH
}

using StepTensors = StepOperands<TensorView>;

/// What changes from call to call. The outputs are G tensors [B, ...], or one [G * B, ...], or
/// none; gain [B, ...] has their dtype; x_in [B, ...] is read in the place of x, x_out [B, ...],
/// contiguous, receives x' in its place. Undefined: not there.
struct StepCall {
  const TensorView* outputs = nullptr;
  int64_t count = 0;
  TensorView gain, x_in, x_out;
};

/// Everything but what changes from call to call. Throws std::invalid_argument naming the argument.
StepArgs pack_step(const StepTensors& tensors);

/// Points `args` at the operands of a call; those of an earlier one are forgotten. `x` is the
/// state.
void bind_call(StepArgs& args, const TensorView& x, const StepCall& call);

/// Throws unless what this row (in host memory) reads and writes is bound.
void check_row(const StepArgs& args, int64_t row);

/// Throws unless every sample stands on a row of the table (in host memory), and what that row
/// reads and writes is there. Returns whether a sample is unfinished.
bool check_rows(const StepArgs& args, const StepCall& call);

/// float32, float64, bfloat16 or float16.
DType dtype_of(Scalar scalar);

/// bfloat16 -> DType::kBFloat16 ...; throws if `v` is not one of `allowed` ("a, b").
DType dtype_of(const TensorView& v, const char* argument, const char* allowed);

}  // namespace fastdiff
