#include "torch/pack.h"

#include <cstring>

#include "core/element.h"

namespace fastdiff {
namespace {

std::string shape_text(const int64_t* sizes, int64_t dim, int64_t leading) {
  std::ostringstream text;
  text << "[" << leading;
  for (int64_t d = 1; d < dim; ++d) text << ", " << sizes[d];
  text << "]";
  return text.str();
}

void require_device(const TensorView& v, const TensorView& x, const char* argument) {
  if (!v.defined()) reject(argument, "a tensor", "None");
  if (v.device_type != x.device_type || v.device_index != x.device_index) {
    reject(argument, "a tensor on the device of x", describe(v) + " while x is " + describe(x));
  }
}

void require(const TensorView& v, const TensorView& x, const char* argument, Scalar dtype,
             const int64_t* sizes, int64_t dim) {
  require_device(v, x, argument);
  bool same = v.dtype == dtype && v.dim == dim && v.contiguous();
  for (int64_t d = 0; same && d < dim; ++d) same = v.sizes[d] == sizes[d];
  if (!same) {
    const std::string shape = dim ? shape_text(sizes, dim, sizes[0]) : "[]";
    reject(argument, std::string("a contiguous ") + name_of(dtype) + " tensor " + shape,
           describe(v) + (v.contiguous() ? "" : ", not contiguous"));
  }
}

int64_t bytes_of(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

/// Of a tensor that the model reads or writes: float64 only beside a float64 state.
DType float_dtype(const TensorView& v, const char* argument, DType state) {
  return dtype_of(v, argument,
                  state == DType::kFloat64 ? "float32, float64, bfloat16, float16"
                                           : "float32, bfloat16, float16");
}

struct RowNeeds {
  Use use;
  int slots;
  bool draw;  // the number of the draw is one, if the row draws
  bool live;
};

template <class T>
RowNeeds needs(const StepArgs& args, const Row<T>& r) {
  const Use use = use_of(r);
  const bool sane = r.slot >= -1 && r.slot < kHistory;  // false for NaN, too
  int slots = sane ? static_cast<int>(r.slot) + 1 : kHistory + 1;
  for (int k = slots; k < kHistory; ++k) slots = use.slot(k) ? k + 1 : slots;
  return {use, slots, has_draw(r, use.noise() && !args.z, use.previous_noise() && !args.z_prev),
          r.live != 0};
}

RowNeeds needs_of(const StepArgs& args, int64_t row) {
  return args.state == DType::kFloat32
             ? needs(args, static_cast<const Row<float>*>(args.rows)[row])
             : needs(args, static_cast<const Row<double>*>(args.rows)[row]);
}

/// The first and one past the last byte that a view can touch.
void extent(const OutputView& view, const StepArgs& args, int64_t size, const char*& from,
            const char*& to) {
  int64_t last = (args.batch - 1) * view.sample_stride;
  for (int d = 0; d < args.out_dims; ++d) last += (args.out_size[d] - 1) * view.stride[d];
  from = static_cast<const char*>(view.data);
  to = from + (last + 1) * size;
}

/// A buffer that the row writes may be read as an output only where each element is read before it
/// is written: at the very place of the same element, or of another copy of it.
void require_no_overlap(const StepArgs& args, const OutputView& view, void* written, DType dtype,
                        int64_t copies) {
  if (!written) return;
  const int64_t size = bytes_of(dtype), total = args.batch * args.numel;
  const char *from, *to, *begin = static_cast<const char*>(written);
  extent(view, args, bytes_of(args.output), from, to);
  if (to <= begin || from >= begin + copies * total * size) return;
  const bool aligned = from >= begin && (from - begin) % (total * size) == 0;
  const bool like_it = dtype == args.output && args.out_dims == 1 && view.stride[0] == 1 &&
                       (args.batch == 1 || view.sample_stride == args.numel);
  if (!aligned || !like_it) {
    reject("out", "memory of its own", "another view of the state or of model_input; clone it");
  }
}

/// Throws unless what this row reads and writes is bound.
void check_buffers(const StepArgs& args, int64_t row, const RowNeeds& need) {
  if (!need.draw) {
    reject("rows", "a number of a draw in `draw`, from 1 on where z_prev is read",
           "another in row " + std::to_string(row));
  }
  const auto which = [row] { return " (row " + std::to_string(row) + " uses "; };
  if (need.slots > args.slots || need.slots > kHistory) {
    reject("history", "at least " + std::to_string(need.slots) + " slots" + which() + "them)",
           std::to_string(args.slots));
  }
  if (args.batch * args.numel == 0) return;
  const auto require_bound = [&](bool needed, const void* data, const char* argument,
                                 const char* shape) {
    if (needed && !data)
      reject(argument, std::string("a tensor ") + shape + which() + "it)", "None");
  };
  require_bound(need.use.saved(), args.saved, "saved", "like x");
  require_bound(need.use.known, args.known, "known", "like x");
  require_bound(need.use.known, args.mask, "mask", "like x");
  require_bound(need.use.dynamic, args.threshold, "threshold", "[B]");
}

/// Throws if this row reads the model's outputs, or the gain of the noise, and they are not there.
void check_outputs(int64_t row, const Use& use, bool has_outputs, bool has_gain) {
  const auto which = [row] { return " (row " + std::to_string(row) + " reads it)"; };
  if (use.model() && !has_outputs) reject("out", "the model's output" + which(), "None");
  if (use.gain_operand && !has_gain) reject("gain", "a tensor like x" + which(), "None");
}

}  // namespace

DType dtype_of(const TensorView& v, const char* argument, const char* allowed) {
  if (!std::strstr(allowed, name_of(v.dtype))) {
    reject(argument, std::string("dtype ") + allowed, describe(v));
  }
  return dtype_of(v.dtype);
}

DType dtype_of(Scalar scalar) {
  switch (scalar) {
    case Scalar::kFloat32: return DType::kFloat32;
    case Scalar::kFloat64: return DType::kFloat64;
    case Scalar::kBFloat16: return DType::kBFloat16;
    default: return DType::kFloat16;
  }
}

StepArgs pack_step(const StepTensors& in) {
  StepArgs args = {};
  const TensorView& x = in.x;
  if (!x.defined()) reject("x", "a tensor", "None");
  args.state = dtype_of(x, "x", "float32, float64");
  if (x.dim < 1) reject("x", "[batch, ...]", describe(x));
  if (!x.contiguous()) reject("x", "a contiguous tensor", describe(x) + ", not contiguous");
  args.batch = x.sizes[0];
  args.numel = 1;
  for (int64_t d = 1; d < x.dim; ++d) args.numel *= x.sizes[d];
  args.x = x.data;
  args.device = x.device_type == 1 ? -1 : x.device_index;

  const int64_t pair[] = {args.batch, 2};
  require(in.row, x, "row", Scalar::kInt64, pair, 1);
  require(in.keys, x, "keys", Scalar::kInt64, pair, 2);
  args.row = static_cast<int64_t*>(in.row.data);
  args.keys = static_cast<const int64_t*>(in.keys.data);
  const int64_t table[] = {in.rows.dim == 2 ? in.rows.sizes[0] : 0, kRowWidth};
  require(in.rows, x, "rows", x.dtype, table, 2);
  args.rows = in.rows.data;
  args.n_rows = table[0];

  args.n_outputs = 1;
  if (in.weights.defined()) {
    const TensorView& w = in.weights;
    require_device(w, x, "weights");
    if (w.dtype != x.dtype || w.dim != 3 || w.sizes[0] != args.n_rows || w.sizes[1] != args.batch ||
        w.sizes[2] < 1 || w.sizes[2] > kMaxOutputs || (w.strides[2] != 1 && w.sizes[2] > 1)) {
      reject("weights", std::string(name_of(x.dtype)) + " [rows, batch, 1..4], last stride 1",
             describe(w));
    }
    args.weights = w.data;
    args.weight_row_stride = w.strides[0];
    args.weight_sample_stride = w.strides[1];
    args.n_outputs = static_cast<int32_t>(w.sizes[2]);
  }
  if (in.second_weights.defined()) {
    const TensorView &w = in.weights, &v = in.second_weights;
    require_device(v, x, "second_weights");
    bool like = w.defined() && v.dtype == x.dtype && v.dim == 3;
    for (int d = 0; like && d < 3; ++d) {
      like = v.sizes[d] == w.sizes[d] && (v.sizes[d] <= 1 || v.strides[d] == w.strides[d]);
    }
    if (!like) reject("second_weights", "a tensor like weights, strides and all", describe(v));
    args.second_weights = v.data;
  }
  const auto like_x = [&x](const TensorView& v, const char* argument) -> void* {
    if (v.defined()) require(v, x, argument, x.dtype, x.sizes, x.dim);
    return v.data;
  };
  args.saved = like_x(in.saved, "saved");
  args.z = like_x(in.z, "z");
  args.z_prev = like_x(in.z_prev, "z_prev");
  args.known = like_x(in.known, "known");
  args.mask = like_x(in.mask, "mask");
  if (in.threshold.defined()) {
    require(in.threshold, x, "threshold", x.dtype, x.sizes, 1);
    args.threshold = in.threshold.data;
  }
  if (in.history.defined()) {
    std::vector<int64_t> sizes(x.sizes, x.sizes + x.dim);
    sizes.insert(sizes.begin(), in.history.dim ? in.history.sizes[0] : 0);
    require(in.history, x, "history", x.dtype, sizes.data(), x.dim + 1);
    args.history = in.history.data;
  }
  std::vector<int64_t> stacked(x.sizes, x.sizes + x.dim);
  stacked[0] *= args.n_outputs;
  if (in.model_input.defined()) {
    args.input = float_dtype(in.model_input, "model_input", args.state);
    require(in.model_input, x, "model_input", in.model_input.dtype, stacked.data(), x.dim);
    args.model_input = in.model_input.data;
  }
  if (in.t.defined()) {
    const bool wide = args.input == DType::kFloat64;
    require(in.t, x, "t", wide ? Scalar::kFloat64 : Scalar::kFloat32, stacked.data(), 1);
    args.t = in.t.data;
  }

  args.slots = in.history.defined() ? static_cast<int32_t>(in.history.sizes[0]) : 0;
  return args;
}

void check_row(const StepArgs& args, int64_t row) { check_buffers(args, row, needs_of(args, row)); }

bool check_rows(const StepArgs& args, bool has_outputs, bool has_gain) {
  bool unfinished = false;
  for (int64_t b = 0; b < args.batch; ++b) {
    const int64_t row = args.row[b];
    if (row < 0 || row >= args.n_rows) {
      reject("row", "indices in [0, " + std::to_string(args.n_rows) + ")",
             std::to_string(row) + " for sample " + std::to_string(b));
    }
    if (b > 0 && row == args.row[b - 1]) continue;
    const RowNeeds need = needs_of(args, row);
    unfinished = unfinished || need.live;
    check_buffers(args, row, need);
    check_outputs(row, need.use, has_outputs, has_gain);
  }
  return unfinished;
}

void bind_outputs(StepArgs& args, const TensorView& x, const TensorView* outputs, int64_t count,
                  const TensorView& gain) {
  if (count == 0) {
    for (OutputView& view : args.out) view.data = nullptr;
    args.has_gain = false;
    return;
  }
  const int64_t G = args.n_outputs;
  const bool stacked = count == 1;
  const int64_t leading = stacked ? G * args.batch : args.batch;
  if (!stacked && count != G) {
    reject("out", std::to_string(G) + " tensors or one stacked tensor", std::to_string(count));
  }
  args.output = float_dtype(outputs[0], "out", args.state);
  const Scalar dtype = outputs[0].dtype;
  const auto require_like = [&](const TensorView& v, int64_t samples, const char* argument) {
    bool same = v.dtype == dtype && v.dim == x.dim && v.device_type == x.device_type &&
                v.device_index == x.device_index && v.sizes[0] == samples;
    for (int64_t d = 1; same && d < x.dim; ++d) same = v.sizes[d] == x.sizes[d];
    if (!same) {
      reject(argument,
             std::string(name_of(dtype)) + " " + shape_text(x.sizes, x.dim, samples) +
                 (x.device_type == 1 ? " on cpu" : " on the device of x"),
             describe(v));
    }
  };
  for (int64_t g = 0; g < count; ++g) require_like(outputs[g], leading, "out");
  args.has_gain = gain.defined();
  if (args.has_gain) require_like(gain, args.batch, "gain");

  const int64_t size = bytes_of(args.output);
  std::pair<const TensorView*, OutputView*> views[kMaxOutputs + 1];  // of what is read in place
  int64_t n = 0;
  for (int64_t g = 0; g < G; ++g) {
    const TensorView& v = outputs[stacked ? 0 : g];
    args.out[g].data =
        static_cast<const char*>(v.data) + (stacked ? g * args.batch * v.strides[0] * size : 0);
    args.out[g].sample_stride = v.strides[0];
    views[n++] = {&v, &args.out[g]};
  }
  if (args.has_gain) {
    args.out[kMaxOutputs].data = gain.data;
    args.out[kMaxOutputs].sample_stride = gain.strides[0];
    views[n++] = {&gain, &args.out[kMaxOutputs]};
  }
  // Merge adjacent dimensions wherever every output allows it.
  args.out_dims = 0;
  for (int64_t d = 1; d < x.dim; ++d) {
    if (x.sizes[d] == 1) continue;
    bool merges = args.out_dims > 0;
    for (int64_t k = 0; merges && k < n; ++k) {
      const auto& [v, view] = views[k];
      merges = view->stride[args.out_dims - 1] == v->strides[d] * v->sizes[d];
    }
    if (!merges && args.out_dims == kMaxDims) {
      reject("out", "at most 6 dimensions that cannot be merged", "more; call contiguous()");
    }
    const int at = merges ? args.out_dims - 1 : args.out_dims++;
    args.out_size[at] = merges ? args.out_size[at] * x.sizes[d] : x.sizes[d];
    for (int64_t k = 0; k < n; ++k) views[k].second->stride[at] = views[k].first->strides[d];
  }
  if (args.out_dims == 0) {
    args.out_dims = 1;
    args.out_size[0] = 1;
    for (int64_t k = 0; k < n; ++k) views[k].second->stride[0] = 1;
  }
  const int64_t total = args.batch * args.numel;
  for (int64_t k = 0; total > 0 && k < n; ++k) {
    require_no_overlap(args, *views[k].second, args.x, args.state, 1);
    require_no_overlap(args, *views[k].second, args.model_input, args.input, G);
  }
}

}  // namespace fastdiff
