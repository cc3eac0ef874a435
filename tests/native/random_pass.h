// Random passes of the training operations, and rows of logits, each buffer of its exact size.
#pragma once

#include "core/categorical.h"
#include "core/pass.h"
#include "random_case.h"

/// A pass with everything it points to; copies of it are independent.
struct PassCase {
  PassArgs args = {};
  std::vector<char> in[kMaxTensors], noise, number[kMaxNumbers], out[kMaxTensors], result;
  std::vector<double> partial;
  std::vector<int64_t> keys, level;
  int64_t classes = 0;  // > 0: rows of logits

  void bind() {
    const auto place = [](std::vector<char>& v) { return v.empty() ? nullptr : v.data(); };
    for (int k = 0; k < kMaxTensors; ++k) args.in[k].data = place(in[k]);
    for (int k = 0; k < kMaxTensors; ++k) args.out[k].data = place(out[k]);
    for (int k = 0; k < kMaxNumbers; ++k) args.number[k].data = place(number[k]);
    args.noise.data = place(noise), args.result.data = place(result);
    args.keys = keys.empty() ? nullptr : keys.data();
    args.partial = partial.empty() ? nullptr : partial.data();
  }
  CategoricalArgs rows() const { return {args, level.data(), classes}; }
};

static DType pick_dtype(DType compute) {
  const DType narrow[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};
  return compute == DType::kFloat64 ? compute : narrow[pick(0, 2)];
}

static void random_input(const PassArgs& a, Input& in, std::vector<char>& buffer) {
  in.dtype = pick_dtype(a.compute);
  in.constant = a.numel > 1 && pick(0, 4) == 0;
  in.sample_stride = in.constant ? 1 : a.numel + pick(0, 1) * pick(0, 5);
  if (pick(0, 9)) buffer = random_buffer(in.dtype, a.batch * in.sample_stride);
}

static void random_result(PassCase& c, int sums) {
  PassArgs& a = c.args;
  a.sums = sums;
  a.result.dtype = pick(0, 1) ? DType::kFloat32 : DType::kFloat64;
  c.result.resize(a.batch * sums * bytes_of(a.result.dtype));
  if (sum_chunks_of(a.numel) > 1) c.partial.resize(a.batch * sum_chunks_of(a.numel) * sums);
}

static PassCase random_pass() {
  PassCase c;
  PassArgs& a = c.args;
  a.device = -1, a.parameter = pick(2, 300);
  a.compute = pick(0, 2) ? DType::kFloat32 : DType::kFloat64;
  const int64_t sizes[] = {pick(0, 9), pick(1, 70), pick(100, 600), pick(1900, 5000)};
  a.numel = sizes[pick(0, 3)], a.batch = a.numel < 600 ? pick(0, 40) : pick(0, 3);
  if (pick(0, 5) == 0) {
    c.classes = pick(1, 100), a.numel = a.numel % 300;
    a.in[0].dtype = a.out[0].dtype = pick_dtype(a.compute);
    a.in[0].sample_stride = a.numel * c.classes;
    c.in[0] = random_buffer(a.in[0].dtype, a.batch * a.numel * c.classes);
    for (int64_t i = 0; i < a.batch * a.numel; ++i) c.level.push_back(pick(0, c.classes - 1));
    a.number[0].dtype = DType::kFloat64, a.number[0].stride = 1;
    c.number[0] = random_buffer(DType::kFloat64, a.batch);
    pick(0, 1) ? random_result(c, 1) : c.out[0].resize(c.in[0].size());
    return c;
  }
  a.formula = static_cast<Formula>(pick(0, static_cast<int>(Formula::kDiscretisedLogisticGrad)));
  with_formula(a.formula, [&](auto tag) {
    using F = typename decltype(tag)::type;
    for (int k = 0; k < F::kInputs; ++k) random_input(a, a.in[k], c.in[k]);
    if (F::kNoise && pick(0, 1)) random_input(a, a.noise, c.noise);
    for (int64_t b = 0; F::kNoise && c.noise.empty() && b < 2 * a.batch; ++b) {
      c.keys.push_back(pick(0, 3) ? pick(0, 99) : -1);
    }
    for (int k = 0; k < F::kGiven; ++k) {
      a.number[k].dtype = pick(0, 1) ? DType::kFloat32 : DType::kFloat64, a.number[k].stride = 2;
      if (pick(0, 9)) c.number[k] = random_buffer(a.number[k].dtype, 2 * a.batch);
    }
    for (int k = 0; k < F::kOutputs; ++k) {
      a.out[k].dtype = pick_dtype(a.compute);
      if (pick(0, 4)) c.out[k].resize(a.batch * a.numel * bytes_of(a.out[k].dtype));
    }
    if (F::kSums) random_result(c, F::kSums);
  });
  return c;
}

/// Everything that a pass writes.
static std::vector<std::vector<char>> written(const PassCase& c) {
  std::vector<std::vector<char>> all(c.out, c.out + kMaxTensors);
  all.push_back(c.result);
  return all;
}

static void fold_results(const PassArgs& args) {
  if (!args.result.data || sum_chunks_of(args.numel) == 1) return;
  for (int64_t b = 0; b < args.batch; ++b) fold_chunks(args, b, args.sums);
}

static std::vector<std::vector<char>> run(const Backend& backend, PassCase c) {
  c.bind();
  if (c.classes) {
    const int64_t units = c.args.batch * sum_chunks_of(c.args.numel);
    backend.categorical(c.rows(), units / 2, units);  // in two parts, as two threads would
    backend.categorical(c.rows(), 0, units / 2);
  } else {
    const int64_t units = backend.pass_units(c.args);
    backend.pass(c.args, units / 2, units);
    backend.pass(c.args, 0, units / 2);
  }
  fold_results(c.args);
  return written(c);
}
