// Random steps with everything that they point to, each buffer of its exact size.
#pragma once

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "core/dispatch.h"
#include "cpu/backend.h"

using namespace fastdiff;

static std::mt19937 rng(7);
static int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }
static float real() { return std::normal_distribution<float>()(rng); }

static int64_t bytes_of(DType d) { return d == DType::kFloat64 ? 8 : d == DType::kFloat32 ? 4 : 2; }

static std::vector<char> random_buffer(DType dtype, int64_t count) {
  std::vector<char> buffer(count * bytes_of(dtype));
  with_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < count; ++i) from_float(real(), reinterpret_cast<T*>(buffer.data())[i]);
  });
  return buffer;
}

/// A step with everything it points to; copies of it are independent.
struct Case {
  StepArgs args = {};
  std::vector<char> x, saved, history, rows, weights, second_weights, out, input, t, gain, known,
      mask;
  std::vector<char> z, z_prev, threshold, x_in, x_out, x0;
  std::vector<int64_t> row, keys;
  bool common = false;  // no more is bound than most solvers need

  void bind() {
    args.x = x.data(), args.history = history.data();
    args.rows = rows.data(), args.weights = args.n_outputs > 1 ? weights.data() : nullptr;
    args.row = row.data(), args.keys = keys.data();
    args.model_input = input.data(), args.t = t.data();
    const int64_t per_output = static_cast<int64_t>(out.size()) / args.n_outputs;
    for (int g = 0; g < args.n_outputs; ++g) args.view[g].data = out.data() + g * per_output;
    args.x_out = x_out.empty() ? x.data() : x_out.data();
    args.has_gain = !common;
    if (common) return;
    args.saved = saved.data(), args.x0_out = x0.empty() ? nullptr : x0.data();
    args.known = known.data(), args.mask = mask.data(), args.threshold = threshold.data();
    args.second_weights = args.n_outputs > 1 ? second_weights.data() : nullptr;
    args.z = z.empty() ? nullptr : z.data(), args.z_prev = z.empty() ? nullptr : z_prev.data();
    args.view[kGain].data = gain.data(), args.view[kXIn].data = x_in.data();
  }
};

template <class T>
static void random_rows(std::vector<char>& buffer, int n, int slots, bool common) {
  buffer.resize(n * sizeof(Row<T>));
  for (int r = 0; r < n; ++r) {
    Row<T> row;
    T* fields = reinterpret_cast<T*>(&row);
    for (int i = 0; i < kRowWidth; ++i) fields[i] = pick(0, 2) ? static_cast<T>(real()) : T(0);
    for (int k = slots; k < kHistory; ++k) row.c.h[k] = row.d.h[k] = 0;
    row.clip_low = T(-1), row.clip_high = T(1.5);
    row.dynamic = pick(0, 3) ? T(0) : T(0.8);
    if (pick(0, 2)) row.g_0 = row.g_1 = 0;
    if (pick(0, 2)) row.k_known = row.k_z = 0;
    if (common) {
      row.d = {}, row.c.s = row.dynamic = row.g_1 = row.k_known = row.k_z = 0;
    }
    row.slot = static_cast<T>(pick(-1, slots - 1));
    row.draw = static_cast<T>(pick(1, 1000)), row.live = static_cast<T>(pick(0, 5) != 0);
    memcpy(buffer.data() + r * sizeof(row), &row, sizeof(row));
  }
}

static Case random_case() {
  Case c;
  StepArgs& a = c.args;
  c.common = pick(0, 1);
  const bool small = pick(0, 1);  // many of them, on a GPU several in a block
  const int64_t channels = pick(1, 3), inner = pick(0, 9) ? pick(1, small ? 45 : 400) : 0;
  const int slots = pick(0, c.common ? 2 : kHistory), n_rows = 5;
  a.batch = pick(0, small ? 40 : 4), a.numel = channels * inner;
  a.n_outputs = pick(1, c.common ? 2 : kMaxOutputs);
  a.state = pick(0, 1) ? DType::kFloat32 : DType::kFloat64;
  const DType narrow[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};
  a.output = narrow[pick(0, 2)], a.input = narrow[pick(0, 2)];
  const int64_t total = a.batch * a.numel;
  c.x = random_buffer(a.state, total), c.saved = random_buffer(a.state, total);
  c.history = random_buffer(a.state, slots * total);
  c.out = random_buffer(a.output, a.n_outputs * total);
  c.input = random_buffer(a.input, a.n_outputs * total);
  c.t = random_buffer(DType::kFloat32, a.n_outputs * a.batch);
  c.weights = random_buffer(a.state, n_rows * a.batch * a.n_outputs);
  c.second_weights = random_buffer(a.state, n_rows * a.batch * a.n_outputs);
  c.gain = random_buffer(a.output, total), c.known = random_buffer(a.state, total);
  c.mask = random_buffer(a.state, total), c.threshold = random_buffer(a.state, a.batch);
  if (!c.common && pick(0, 1))
    c.z = random_buffer(a.state, total), c.z_prev = random_buffer(a.state, total);
  if (!c.common && pick(0, 1)) c.x0 = random_buffer(a.state, total);
  a.next = a.state;
  a.sample = narrow[pick(0, 2)];
  a.has_x_in = !c.common && pick(0, 1);
  if (a.has_x_in) c.x_in = random_buffer(a.sample, total);
  if (!c.common && total > 0 && pick(0, 1)) {
    a.next = pick(0, 1) ? a.state : narrow[pick(0, 2)];
    c.x_out = random_buffer(a.next, total);
  }
  a.device = -1;
  a.slots = slots, a.n_rows = n_rows;
  a.weight_row_stride = a.batch * a.n_outputs, a.weight_sample_stride = a.n_outputs;
  a.state == DType::kFloat32 ? random_rows<float>(c.rows, n_rows, slots, c.common)
                             : random_rows<double>(c.rows, n_rows, slots, c.common);
  for (int64_t b = 0; b < a.batch; ++b) {
    c.row.push_back(pick(0, n_rows - 1));
    c.keys.push_back(pick(-9, 9)), c.keys.push_back(pick(0, 9));
  }
  // The outputs either contiguous or with the channels innermost.
  const bool permuted = !c.common && pick(0, 1);
  a.out_dims = permuted ? 2 : 1;
  a.out_size[0] = permuted ? channels : a.numel, a.out_size[1] = inner;
  for (View& view : a.view) {
    view.sample_stride = a.numel;
    view.stride[0] = 1, view.stride[1] = channels;
  }
  return c;
}

/// Everything that a step writes.
static std::vector<std::vector<char>> written(const Case& c) {
  std::vector<char> row(reinterpret_cast<const char*>(c.row.data()),
                        reinterpret_cast<const char*>(c.row.data() + c.row.size()));
  return {c.x, c.saved, c.history, c.input, c.t, c.threshold, c.x_out, c.x0, row};
}

static std::vector<std::vector<char>> run(const Backend& backend, Case c) {
  c.bind();
  const int64_t units = c.args.batch * tiles_of(c.args.numel);
  backend.thresholds(c.args, 0, c.args.batch);
  backend.step(c.args, units / 2, units);  // in two parts, as two threads would
  backend.step(c.args, 0, units / 2);
  backend.step_advance(c.args);
  return written(c);
}
