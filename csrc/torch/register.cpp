// torch.ops.fastdiff.* on the CPU and on CUDA devices, on LibTorch's stable ABI: one binary for
// every torch >= 2.10. The schemas are defined in fastdiff/ops, next to the reference
// implementations.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/moments.h"
#include "torch/executor.h"
#include "torch/pack.h"
#include "torch/run.h"
#include "torch/stable_view.h"

namespace fastdiff {
namespace {

using torch::stable::Tensor;

/// [B] int32 zeros on the device of row.
Tensor zeros_like_rows(const Tensor& row) {
  return torch::stable::new_zeros(row, {row.size(0)}, torch::headeronly::ScalarType::Int);
}

using torch::stable::detail::to;

std::optional<Tensor> taken(StableIValue value, Need need) {
  if (need == Need::kOptional) return to<std::optional<Tensor>>(value);
  Tensor tensor = to<Tensor>(value);
  if (!tensor.defined()) return {};  // of a caller that passed None
  return tensor;
}

/// The operands as the dispatcher hands them over, in the order of the list; `stack` moves past
/// them.
BoundTensors take_operands(StableIValue*& stack) {
  BoundTensors tensors;
#define FD_TAKE(type, name, dtype, shape, need) tensors.name = taken(*stack++, Need::need);
  FD_STEP_OPERANDS(FD_TAKE)
#undef FD_TAKE
  return tensors;
}

/// step_(operands..., Tensor[] outputs, Tensor? gain, Tensor? x_in, Tensor? x_out) -> ()
void step_(StableIValue* stack, uint64_t, uint64_t) {
  const BoundTensors tensors = take_operands(stack);
  const auto outputs = to<std::vector<Tensor>>(*stack++);
  const auto gain = to<std::optional<Tensor>>(*stack++);
  const auto x_in = to<std::optional<Tensor>>(*stack++);
  const auto x_out = to<std::optional<Tensor>>(*stack++);
  std::vector<TensorView> out;
  for (const Tensor& o : outputs) out.push_back(view(o, "out"));
  const StepCall call = {out.data(), static_cast<int64_t>(out.size()), view(gain, "gain"),
                         view(x_in, "x_in"), view(x_out, "x_out")};
  const StepTensors in = views_of(tensors);
  StepArgs args = pack_step(in);
  if (args.device < 0) check_rows(args, call);
  bind_call(args, in.x, call);
  if (args.device < 0) return run_step(args, nullptr);
  Tensor tickets = zeros_like_rows(*tensors.row);
  run_step(args, static_cast<int32_t*>(tickets.data_ptr()));
}

/// bind(operands..., int torch_threads, bool torch_shared) -> int, for `take` to make an Executor
/// of.
void bind(StableIValue* stack, uint64_t, uint64_t) {
  StableIValue* const result = stack;
  BoundTensors tensors = take_operands(stack);
  const auto torch_threads = to<int64_t>(*stack++);
  const auto torch_shared = to<bool>(*stack++);
  std::optional<Tensor> tickets;
  if (tensors.x && tensors.row && !tensors.x->is_cpu()) tickets = zeros_like_rows(*tensors.row);
  *result = torch::stable::detail::from(leave(std::make_unique<Executor>(
      std::move(tensors), std::move(tickets), torch_threads, torch_shared)));
}

/// "Tensor x, Tensor? saved, ..." of every operand.
std::string schema_of_operands() {
  std::string schema;
#define FD_DECLARE(type, name, dtype, shape, need) \
  schema += Need::need == Need::kRequired ? "Tensor " #name ", " : "Tensor? " #name ", ";
  FD_STEP_OPERANDS(FD_DECLARE)
#undef FD_DECLARE
  return schema;
}

void require_keys(const TensorView& keys, int64_t events, const TensorView& out) {
  if (keys.device_type != out.device_type || keys.device_index != out.device_index ||
      keys.dtype != Scalar::kInt64 || keys.dim != 2 || keys.sizes[0] != events ||
      keys.sizes[1] != 2 || !keys.contiguous()) {
    reject("keys", "contiguous int64 [" + std::to_string(events) + ", 2] on the device of out",
           describe(keys));
  }
}

/// out [K, ...] contiguous, float32 or float64; keys [K, 2].
void normal_(Tensor out, Tensor keys) {
  if (!keys.is_contiguous()) keys = torch::stable::contiguous(keys);
  const TensorView o = view(out, "out"), k = view(keys, "keys");
  NormalArgs args = {};
  args.device = o.device_type == 1 ? -1 : o.device_index;
  args.dtype = dtype_of(o, "out", "float32, float64");
  if (o.dim < 1 || !o.contiguous()) reject("out", "contiguous [events, ...]", describe(o));
  require_keys(k, o.sizes[0], o);
  args.events = o.sizes[0];
  args.numel = 1;
  for (int64_t d = 1; d < o.dim; ++d) args.numel *= o.sizes[d];
  args.keys = static_cast<const int64_t*>(k.data);
  args.out = o.data;
  run_normal(args);
}

/// t [B, numel], with its elements next to each other.
Tensor with_unit_stride(Tensor t) {
  return t.dim() == 2 && t.stride(1) != 1 ? torch::stable::contiguous(t) : t;
}

/// out [B, 5] float64; a, b [B, numel].
void moments_(Tensor out, Tensor a, Tensor b) {
  a = with_unit_stride(a), b = with_unit_stride(b);
  const TensorView o = view(out, "out"), va = view(a, "a"), vb = view(b, "b");
  MomentArgs args = {};
  args.device = va.device_type == 1 ? -1 : va.device_index;
  args.dtype = dtype_of(va, "a", "float32, float64, bfloat16, float16");
  if (va.dim != 2 || (va.sizes[1] > 1 && va.strides[1] != 1)) {
    reject("a", "[batch, numel]", describe(va));
  }
  if (vb.device_type != va.device_type || vb.device_index != va.device_index ||
      vb.dtype != va.dtype || vb.dim != 2 || vb.sizes[0] != va.sizes[0] ||
      vb.sizes[1] != va.sizes[1] || (vb.sizes[1] > 1 && vb.strides[1] != 1)) {
    reject("b", "a tensor like a", describe(vb) + " while a is " + describe(va));
  }
  if (o.device_type != va.device_type || o.device_index != va.device_index ||
      o.dtype != Scalar::kFloat64 || o.dim != 2 || o.sizes[0] != va.sizes[0] || o.sizes[1] != 5 ||
      !o.contiguous()) {
    reject("out", "contiguous float64 [batch, 5]", describe(o));
  }
  args.batch = va.sizes[0];
  args.numel = va.sizes[1];
  args.a = va.data, args.b = vb.data;
  args.a_sample_stride = va.strides[0], args.b_sample_stride = vb.strides[0];
  args.out = static_cast<double*>(o.data);
  if (args.device < 0) return run_moments(args, nullptr);
  const int64_t room = args.batch * chunks_of(args.numel) * kMoments;
  Tensor partial = empty_on_device_of(out, &room, 1, torch::headeronly::ScalarType::Double);
  run_moments(args, static_cast<double*>(partial.data_ptr()));
}

}  // namespace
}  // namespace fastdiff

#define FD_IMPLEMENT(m)                             \
  m.impl("step_", &fastdiff::step_);                \
  m.impl("normal_", TORCH_BOX(&fastdiff::normal_)); \
  m.impl("moments_", TORCH_BOX(&fastdiff::moments_))

STABLE_TORCH_LIBRARY_IMPL(fastdiff, CPU, m) { FD_IMPLEMENT(m); }
#ifdef FD_CUDA
STABLE_TORCH_LIBRARY_IMPL(fastdiff, CUDA, m) { FD_IMPLEMENT(m); }
#endif

// What fastdiff.ops.bind calls; no operation on tensors, so not among those.
STABLE_TORCH_LIBRARY(fastdiff_native, m) {
  m.def(("bind(" + fastdiff::schema_of_operands() +
         "int torch_threads=0, bool torch_shared=False) -> int")
            .c_str());
}
STABLE_TORCH_LIBRARY_IMPL(fastdiff_native, CPU, m) { m.impl("bind", &fastdiff::bind); }
#ifdef FD_CUDA
STABLE_TORCH_LIBRARY_IMPL(fastdiff_native, CUDA, m) { m.impl("bind", &fastdiff::bind); }
#endif
