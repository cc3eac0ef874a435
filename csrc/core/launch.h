// What a backend is asked to do: plain structs of pointers, sizes and strides (in elements), filled
// and checked once in csrc/torch/pack.cpp, and the functions that a backend defines on them.
#pragma once

#include <cstdint>

#include "core/operands.h"
#include "core/row.h"

namespace fastdiff {

enum class DType : int32_t { kFloat32, kFloat64, kBFloat16, kFloat16 };

constexpr int kMaxDims = 6;  // of a sample of the model output, after merging adjacent dimensions

/// Where a tensor that is read in place lies: [batch, ...] of any strides.
struct View {
  const void* data;
  int64_t sample_stride;
  int64_t stride[kMaxDims];
};

/// What is read by a View: the model's outputs, and then
constexpr int kGain = kMaxOutputs, kXIn = kMaxOutputs + 1, kViews = kMaxOutputs + 2;

/// One row for every sample of a batch.
struct StepArgs {
  int64_t batch;      // samples
  int64_t numel;      // elements of a sample
  DType state;        // float32 or float64: x, saved, history, z, rows and weights
  DType output;       // of the model's outputs and of gain
  DType input;        // of model_input
  int32_t device;     // that all pointers are of: -1 the host, else a CUDA device
  int32_t n_outputs;  // G
  int32_t slots;      // of history
  int64_t n_rows;
  int64_t weight_row_stride, weight_sample_stride;  // of second_weights, too

#define FD_POINTER(type, name, dtype, shape, need) type* name;  // null: not there
  FD_STEP_OPERANDS(FD_POINTER)
#undef FD_POINTER

  // What changes from call to call.
  View view[kViews];
  bool has_gain;
  bool has_x_in;     // the state is read there, as `sample`, and not from x
  DType sample;      // of x_in
  DType next;        // of x_out
  void* x_out;       // [batch, numel] receives x'; x, if the caller has no other place for it
  int32_t out_dims;  // merged dimensions of a sample; 1 with stride 1: contiguous
  int64_t out_size[kMaxDims];

  int64_t torch_threads;  // > 0 (CUDA): draw as torch.randn does with a launch of so many threads
  bool torch_shared;      // ... of one generator for the batch; else one of each sample
};

/// Standard normals: event k is the stream of key k, from its first block on.
struct NormalArgs {
  int32_t device;
  int64_t events;
  int64_t numel;
  DType dtype;
  const int64_t* keys;  // [events, 2]
  void* out;            // [events, numel]
};

/// The five sums that every quadratic guidance needs, per sample of (a, b): sum a, sum b, sum a a,
/// sum a b, sum b b, accumulated in double in a fixed order.
struct MomentArgs {
  int32_t device;
  int64_t batch;
  int64_t numel;
  DType dtype;
  const void* a;  // [batch, numel]
  const void* b;
  int64_t a_sample_stride, b_sample_stride;
  double* out;  // [batch, 5]
};

/// What a pass computes of every element, and sums up per sample: csrc/core/formula.h.
enum class Formula : int32_t {
  kMix,
  kMixSums,
  kSquaredError,
  kSquaredErrorGrad,
  kGaussianSample,
  kGaussianSampleGrad,
  kGaussianKL,
  kGaussianKLGrad,
  kGaussianLogProb,
  kGaussianLogProbGrad,
  kBernoulli,
  kBernoulliGrad,
  kDiscretisedGaussian,
  kDiscretisedGaussianGrad,
  kDiscretisedLogistic,
  kDiscretisedLogisticGrad,
};

constexpr int kMaxTensors = 4, kMaxNumbers = 4, kMaxSums = 4;

/// A tensor that a pass reads: the elements of a sample lie next to each other, or are one number.
struct Input {
  const void* data;  // null: zeros
  DType dtype;
  int64_t sample_stride;
  bool constant;
};

/// A number of each sample.
struct Numbers {
  const void* data;  // null: zeros
  DType dtype;       // float32 or float64
  int64_t stride;
};

/// [batch, numel] contiguous, or [batch, sums] of results.
struct Output {
  void* data;  // null: not wanted
  DType dtype;
};

/// One pass over a batch: elementwise outputs and per-sample sums, in the arithmetic of `compute`.
struct PassArgs {
  Formula formula;
  DType compute;  // float32, all tensors being float32, bfloat16 or float16; or float64 throughout
  int32_t device;
  int64_t batch, numel;
  Input in[kMaxTensors];
  const int64_t* keys;  // [batch, 2]: the noise is drawn from them; null: it is `noise`
  Input noise;
  Numbers number[kMaxNumbers];
  double parameter;
  Output out[kMaxTensors];
  Output result;  // [batch, sums], float32 or float64
  int32_t sums;
  double* partial;  // [batch, chunks, sums] where a sample has several chunks; else null
};

/// Log-probabilities of levels under rows of logits, summed over each sample, or their gradient.
struct CategoricalArgs {
  PassArgs pass;         // in[0]: logits [batch, numel, classes]; out[0]: their gradient, or result
  const int64_t* level;  // [batch, numel] contiguous
  int64_t classes;
};

/// The generator of torch on the CPU: `left` words from state[next] on are still to be drawn.
constexpr int kMersenneWords = 624;
struct Mersenne {
  uint32_t state[kMersenneWords];
  int32_t next, left;
};

/// Elements that one unit of work covers; work is numbered over (sample, tile of the sample).
constexpr int64_t kTile = 256;
static inline int64_t tiles_of(int64_t numel) { return (numel + kTile - 1) / kTile; }

/// The contract: a backend fills this table. Work units [first, last) may run on any thread in any
/// order; `thresholds`, whose units are samples, comes before the units of a step if args.threshold
/// is there, and `step_advance` follows when all units of a step are done. Units of `categorical`
/// are chunks of samples (core/sums.h).
struct Backend {
  const char* name;
  void (*thresholds)(const StepArgs&, int64_t first, int64_t last);
  void (*step)(const StepArgs&, int64_t first, int64_t last);
  void (*step_advance)(const StepArgs&);
  void (*normal)(const NormalArgs&, int64_t first, int64_t last);
  void (*moments)(const MomentArgs&, int64_t first, int64_t last);
  int64_t (*pass_units)(const PassArgs&);
  void (*pass)(const PassArgs&, int64_t first, int64_t last);
  void (*categorical)(const CategoricalArgs&, int64_t first, int64_t last);
  void (*mersenne_words)(Mersenne&, uint32_t* out, int64_t n);  // host only; out null: passed over
  void (*mersenne_normals)(float* words, int64_t first, int64_t last);  // blocks of 16, in place
};

}  // namespace fastdiff
