#include "torch/pack.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/element.h"

namespace fastdiff {
namespace {

/// What the shapes of all operands are made of.
struct Sizes {
  const TensorView &x, &rows, &weights;
  bool wide_time;  // timesteps are float64

  int64_t batch() const { return x.sizes[0]; }
  int64_t outputs() const { return weights.defined() ? weights.sizes[2] : 1; }
};

/// An expected dimension: this size, or any from `low` to `high`, which is then called `name`.
struct Dimension {
  int64_t low, high;
  const char* name;

  Dimension(int64_t size) : low(size), high(size), name(nullptr) {}
  Dimension(const char* name, int64_t low, int64_t high) : low(low), high(high), name(name) {}
  std::string text() const { return name ? name : std::to_string(low); }
};
using Shape = std::vector<Dimension>;

/// [leading..., *x.shape[1:]]
Shape with_rest(Shape leading, const TensorView& x) {
  leading.insert(leading.end(), x.sizes + 1, x.sizes + x.dim);
  return leading;
}

Shape shape_of(ShapeRule rule, const Sizes& of) {
  constexpr int64_t kAny = INT64_MAX;
  switch (rule) {
    case ShapeRule::kLikeX: return with_rest({of.batch()}, of.x);
    case ShapeRule::kBatch: return {of.batch()};
    case ShapeRule::kTable: return {{"rows", 0, kAny}, kRowWidth};
    case ShapeRule::kKeys: return {of.batch(), 2};
    case ShapeRule::kHistory: return with_rest({{"slots", 0, kAny}, of.batch()}, of.x);
    case ShapeRule::kInputs: return with_rest({of.outputs() * of.batch()}, of.x);
    case ShapeRule::kTimes: return {of.outputs() * of.batch()};
    case ShapeRule::kWeights: return {of.rows.sizes[0], of.batch(), {"1..4", 1, kMaxOutputs}};
    case ShapeRule::kLikeWeights: return {of.rows.sizes[0], of.batch(), of.outputs()};
  }
  return {};
}

using Scalars = std::vector<Scalar>;

/// What a model reads and writes: float64 only beside a float64 state.
Scalars model_dtypes(const TensorView& x) {
  Scalars allowed = {Scalar::kFloat32, Scalar::kBFloat16, Scalar::kFloat16};
  if (x.dtype == Scalar::kFloat64) allowed.push_back(Scalar::kFloat64);
  return allowed;
}

Scalars dtypes_of(DtypeRule rule, const Sizes& of) {
  switch (rule) {
    case DtypeRule::kState: return {of.x.dtype};
    case DtypeRule::kInt64: return {Scalar::kInt64};
    case DtypeRule::kTime: return {of.wide_time ? Scalar::kFloat64 : Scalar::kFloat32};
    case DtypeRule::kModel: break;
  }
  return model_dtypes(of.x);
}

bool has_strides(const TensorView& v, const TensorView& like) {
  for (int64_t d = 0; d < v.dim; ++d) {
    if (v.sizes[d] > 1 && v.strides[d] != like.strides[d]) return false;
  }
  return true;
}

/// How the elements of an operand have to lie: "" if they do, else what is expected.
std::string missing_layout(ShapeRule rule, const TensorView& v, const Sizes& of) {
  if (rule == ShapeRule::kWeights) {
    return v.sizes[2] == 1 || v.strides[2] == 1 ? "" : "with last stride 1";
  }
  if (rule == ShapeRule::kLikeWeights) {
    if (!of.weights.defined()) return "beside weights";
    return has_strides(v, of.weights) ? "" : "with strides " + text_of(of.weights.strides, 3);
  }
  return v.contiguous() ? "" : "contiguous";
}

/// The one check of an operand, whatever it is for.
void require(const TensorView& v, const char* argument, const TensorView& x, const Scalars& dtypes,
             const Shape& shape) {
  bool same = v.dim == static_cast<int64_t>(shape.size());
  for (int64_t d = 0; same && d < v.dim; ++d) {
    same = v.sizes[d] >= shape[d].low && v.sizes[d] <= shape[d].high;
  }
  same = same && std::find(dtypes.begin(), dtypes.end(), v.dtype) != dtypes.end() &&
         v.device_type == x.device_type && v.device_index == x.device_index;
  if (same) return;
  std::string expected;
  for (size_t k = 0; k < dtypes.size(); ++k) {
    expected += std::string(k == 0                  ? ""
                            : k + 1 < dtypes.size() ? ", "
                                                    : " or ") +
                name_of(dtypes[k]);
  }
  for (size_t d = 0; d < shape.size(); ++d) expected += (d ? ", " : " [") + shape[d].text();
  reject(argument, expected + "] on " + device_of(x), describe(v));
}

void require(const TensorView& v, const char* argument, DtypeRule dtype, ShapeRule shape, Need need,
             const Sizes& of) {
  if (!v.defined() && need == Need::kOptional) return;
  require(v, argument, of.x, dtypes_of(dtype, of), shape_of(shape, of));
  const std::string layout = missing_layout(shape, v, of);
  if (!layout.empty())
    reject(argument, "a tensor " + layout, "strides " + text_of(v.strides, v.dim));
}

int64_t bytes_of(DType dtype) {
  return dtype == DType::kFloat64 ? 8 : dtype == DType::kFloat32 ? 4 : 2;
}

struct RowNeeds {
  Use use;
  int slots;
  bool draw;  // the number of the draw is one, if the row draws
  bool live;
};

template <class T>
RowNeeds needs(const StepArgs& args, const Row<T>& r) {
  const Use use = use_of(args, r);
  const bool sane = r.slot >= -1 && r.slot < kHistory;  // false for NaN, too
  int slots = sane ? static_cast<int>(r.slot) + 1 : kHistory + 1;
  for (int k = slots; k < kHistory; ++k) slots = use.slot(k) ? k + 1 : slots;
  return {use, slots, has_draw(args, r, use), r.live != 0};
}

RowNeeds needs_of(const StepArgs& args, int64_t row) {
  return args.state == DType::kFloat32
             ? needs(args, static_cast<const Row<float>*>(args.rows)[row])
             : needs(args, static_cast<const Row<double>*>(args.rows)[row]);
}

/// The first and one past the last byte that a view can touch.
void extent(const View& view, const StepArgs& args, int64_t size, const char*& from,
            const char*& to) {
  int64_t last = (args.batch - 1) * view.sample_stride;
  for (int d = 0; d < args.out_dims; ++d) last += (args.out_size[d] - 1) * view.stride[d];
  from = static_cast<const char*>(view.data);
  to = from + (last + 1) * size;
}

/// A buffer that the row writes may be read through a view only where each element is read before
/// it is written: at the very place of the same element, or of another copy of it.
void require_no_overlap(const StepArgs& args, const View& view, DType read, const char* argument,
                        const void* written, DType dtype, int64_t copies) {
  if (!written) return;
  const int64_t size = bytes_of(dtype), total = args.batch * args.numel;
  const char *from, *to, *begin = static_cast<const char*>(written);
  extent(view, args, bytes_of(read), from, to);
  if (to <= begin || from >= begin + copies * total * size) return;
  const bool aligned = from >= begin && (from - begin) % (total * size) == 0;
  const bool like_it = dtype == read && args.out_dims == 1 && view.stride[0] == 1 &&
                       (args.batch == 1 || view.sample_stride == args.numel);
  if (!aligned || !like_it) {
    reject(argument, "memory of its own", "another view of what the row writes; clone it");
  }
}

/// Throws unless what this row reads and writes is bound.
void check_buffers(const StepArgs& args, int64_t row, const RowNeeds& need) {
  if (!need.draw) {
    reject("rows", "a number of a draw in `draw`, from 1 on where the one before is read",
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
  args.state = dtype_of(x, "x", "float32, float64");
  if (x.dim < 1) reject("x", "[batch, ...]", describe(x));
  args.device = x.device_type == 1 ? -1 : x.device_index;
  args.batch = x.sizes[0];
  args.numel = 1;
  for (int64_t d = 1; d < x.dim; ++d) args.numel *= x.sizes[d];

  const bool wide_time = in.model_input.defined() && in.model_input.dtype == Scalar::kFloat64;
  const Sizes sizes = {x, in.rows, in.weights, wide_time};
#define FD_REQUIRE(type, name, dtype, shape, need)                                \
  require(in.name, #name, DtypeRule::dtype, ShapeRule::shape, Need::need, sizes); \
  args.name = static_cast<type*>(in.name.data);
  FD_STEP_OPERANDS(FD_REQUIRE)
#undef FD_REQUIRE

  args.n_rows = in.rows.sizes[0];
  args.n_outputs = static_cast<int32_t>(sizes.outputs());
  if (in.weights.defined()) {
    args.weight_row_stride = in.weights.strides[0];
    args.weight_sample_stride = in.weights.strides[1];
  }
  args.slots = in.history.defined() ? static_cast<int32_t>(in.history.sizes[0]) : 0;
  if (in.model_input.defined()) args.input = dtype_of(in.model_input.dtype);
  args.x_out = args.x, args.next = args.state;
  return args;
}

void check_row(const StepArgs& args, int64_t row) { check_buffers(args, row, needs_of(args, row)); }

bool check_rows(const StepArgs& args, const StepCall& call) {
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
    check_outputs(row, need.use, call.count > 0, call.gain.defined());
  }
  return unfinished;
}

namespace {

bool is_model_dtype(Scalar dtype, const TensorView& x) {
  return dtype == Scalar::kFloat32 || dtype == Scalar::kBFloat16 || dtype == Scalar::kFloat16 ||
         (dtype == Scalar::kFloat64 && x.dtype == Scalar::kFloat64);
}

/// An operand of a call: so many samples like those of x, of this dtype or, for kOther, of any that
/// a model may have. What fits costs no allocation.
void require_samples(const TensorView& v, const char* argument, const TensorView& x,
                     int64_t samples, Scalar dtype) {
  bool fits = dtype == Scalar::kOther ? is_model_dtype(v.dtype, x) : v.dtype == dtype;
  fits = fits && v.dim == x.dim && v.sizes[0] == samples && v.device_type == x.device_type &&
         v.device_index == x.device_index && std::equal(x.sizes + 1, x.sizes + x.dim, v.sizes + 1);
  if (fits) return;
  require(v, argument, x, dtype == Scalar::kOther ? model_dtypes(x) : Scalars{dtype},
          with_rest({samples}, x));
}

}  // namespace

void bind_call(StepArgs& args, const TensorView& x, const StepCall& call) {
  args.has_gain = call.gain.defined(), args.has_x_in = call.x_in.defined();
  args.x_out = args.x, args.next = args.state;
  for (View& view : args.view) view.data = nullptr;
  if (call.x_out.defined()) {
    require_samples(call.x_out, "x_out", x, args.batch, Scalar::kOther);
    if (!call.x_out.contiguous()) {
      reject("x_out", "a tensor contiguous", "strides " + text_of(call.x_out.strides, x.dim));
    }
    args.x_out = call.x_out.data, args.next = dtype_of(call.x_out.dtype);
  }
  struct Read {
    const TensorView* tensor;
    View* view;
    DType dtype;
    const char* argument;
  } reads[kViews];
  int64_t n = 0;
  if (call.count > 0) {
    const int64_t G = args.n_outputs;
    const bool stacked = call.count == 1;
    const int64_t samples = stacked ? G * args.batch : args.batch;
    if (!stacked && call.count != G) {
      reject("out", std::to_string(G) + " tensors or one stacked tensor",
             std::to_string(call.count));
    }
    for (int64_t g = 0; g < call.count; ++g) {
      const Scalar dtype = g == 0 ? Scalar::kOther : call.outputs[0].dtype;
      require_samples(call.outputs[g], "out", x, samples, dtype);
    }
    args.output = dtype_of(call.outputs[0].dtype);
    for (int64_t g = 0; g < G; ++g) {
      const TensorView& v = call.outputs[stacked ? 0 : g];
      const int64_t skipped = stacked ? g * args.batch * v.strides[0] * bytes_of(args.output) : 0;
      args.view[g].data = static_cast<const char*>(v.data) + skipped;
      reads[n++] = {&v, &args.view[g], args.output, "out"};
    }
  }
  const auto read = [&](const TensorView& v, const char* argument, int k, Scalar dtype) {
    require_samples(v, argument, x, args.batch, dtype);
    args.view[k].data = v.data;
    reads[n++] = {&v, &args.view[k], dtype_of(v.dtype), argument};
  };
  if (args.has_gain) {
    read(call.gain, "gain", kGain, call.count ? call.outputs[0].dtype : Scalar::kOther);
    args.output = reads[n - 1].dtype;
  }
  if (args.has_x_in) {
    read(call.x_in, "x_in", kXIn, Scalar::kOther);
    args.sample = reads[n - 1].dtype;
  }
  for (int64_t k = 0; k < n; ++k) reads[k].view->sample_stride = reads[k].tensor->strides[0];
  // Merge adjacent dimensions wherever all that is read allows it.
  args.out_dims = 0;
  for (int64_t d = 1; d < x.dim; ++d) {
    if (x.sizes[d] == 1) continue;
    bool merges = args.out_dims > 0;
    for (int64_t k = 0; merges && k < n; ++k) {
      const int64_t* const strides = reads[k].tensor->strides;
      merges = reads[k].view->stride[args.out_dims - 1] == strides[d] * x.sizes[d];
    }
    if (!merges && args.out_dims == kMaxDims) {
      reject(reads[0].argument, "at most 6 dimensions that cannot be merged",
             "more; call contiguous()");
    }
    const int at = merges ? args.out_dims - 1 : args.out_dims++;
    args.out_size[at] = merges ? args.out_size[at] * x.sizes[d] : x.sizes[d];
    for (int64_t k = 0; k < n; ++k) reads[k].view->stride[at] = reads[k].tensor->strides[d];
  }
  if (args.out_dims == 0) {
    args.out_dims = 1;
    args.out_size[0] = 1;
    for (int64_t k = 0; k < n; ++k) reads[k].view->stride[0] = 1;
  }
  for (int64_t k = 0; args.batch * args.numel > 0 && k < n; ++k) {
    const auto apart = [&](const void* written, DType dtype, int64_t copies) {
      require_no_overlap(args, *reads[k].view, reads[k].dtype, reads[k].argument, written, dtype,
                         copies);
    };
    apart(args.x_out, args.next, 1);
    apart(args.model_input, args.input, args.n_outputs);
#define FD_APART(type, name, dtype, shape, need)                                                \
  if (!std::is_const_v<type> && ShapeRule::shape == ShapeRule::kLikeX && args.name != args.x) { \
    apart(args.name, args.state, 1);                                                            \
  }
    FD_STEP_OPERANDS(FD_APART)
#undef FD_APART
  }
}

}  // namespace fastdiff
