// The operands that a step has bound: from this list come the fields of StepArgs and StepOperands,
// the arguments of the operator, the bindings of an executor and every check. (fastdiff/row.py is
// the same list for Python, with what each of them is for; a test compares the two.)
#pragma once

namespace fastdiff {

enum class DtypeRule {
  kState,  // that of x: float32 or float64
  kInt64,
  kModel,  // float32, bfloat16 or float16; float64 beside a float64 state
  kTime,   // float64 if model_input is, else float32
};

enum class ShapeRule {  // contiguous, but for weights
  kLikeX,               // [B, ...]
  kBatch,               // [B]
  kTable,               // [R, kRowWidth]
  kKeys,                // [B, 2]
  kWeights,             // [R, B, 1..4], any strides but the last, which is 1
  kLikeWeights,         // like weights, with its strides
  kHistory,             // [slots, B, ...]
  kInputs,              // [G B, ...]
  kTimes,               // [G B]
};

enum class Need { kRequired, kOptional };

// X(type of the elements in StepArgs, name, DtypeRule, ShapeRule, Need). Those whose type is not
// const are written.
#define FD_STEP_OPERANDS(X)                                      \
  X(void, x, kState, kLikeX, kRequired)                          \
  X(int64_t, row, kInt64, kBatch, kRequired)                     \
  X(const void, rows, kState, kTable, kRequired)                 \
  X(const void, weights, kState, kWeights, kOptional)            \
  X(const int64_t, keys, kInt64, kKeys, kRequired)               \
  X(void, saved, kState, kLikeX, kOptional)                      \
  X(void, history, kState, kHistory, kOptional)                  \
  X(const void, z, kState, kLikeX, kOptional)                    \
  X(const void, z_prev, kState, kLikeX, kOptional)               \
  X(void, model_input, kModel, kInputs, kOptional)               \
  X(void, t, kTime, kTimes, kOptional)                           \
  X(const void, second_weights, kState, kLikeWeights, kOptional) \
  X(const void, known, kState, kLikeX, kOptional)                \
  X(const void, mask, kState, kLikeX, kOptional)                 \
  X(void, threshold, kState, kBatch, kOptional)                  \
  X(void, x0_out, kState, kLikeX, kOptional)

}  // namespace fastdiff
