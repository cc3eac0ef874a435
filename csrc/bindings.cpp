// The Python module fastdiff._C: the bound executor and facts about the build. Importing it also
// registers the ops (torch/register.cpp).
#include <ATen/dlpack.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <type_traits>
#include <vector>

#include "core/row.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "torch/executor.h"
#include "torch/generator.h"
#include "torch/run.h"

namespace py = pybind11;

namespace fastdiff {
namespace {

/// torch's C table for looking into a tensor without Python calls (DLPack 1.2, torch >= 2.10).
const DLPackExchangeAPI& exchange() {
  static const DLPackExchangeAPI* api = [] {
    py::object capsule =
        py::module_::import("torch").attr("Tensor").attr("__dlpack_c_exchange_api__");
    return static_cast<const DLPackExchangeAPI*>(
        PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  }();
  if (!api) throw py::error_already_set();
  return *api;
}

PyTypeObject* tensor_type() {
  static PyObject* type = py::object(py::module_::import("torch").attr("Tensor")).release().ptr();
  return reinterpret_cast<PyTypeObject*>(type);
}

Scalar scalar_of(const DLDataType& d) {
  if (d.lanes != 1) return Scalar::kOther;
  const bool wide = d.bits == 64, single = d.bits == 32, half = d.bits == 16;
  switch (d.code) {
    case kDLFloat:
      if (single || wide) return single ? Scalar::kFloat32 : Scalar::kFloat64;
      return half ? Scalar::kFloat16 : Scalar::kOther;
    case kDLBfloat: return half ? Scalar::kBFloat16 : Scalar::kOther;
    case kDLInt:
      if (single || wide) return single ? Scalar::kInt32 : Scalar::kInt64;
      return half ? Scalar::kInt16 : Scalar::kInt8;
    case kDLUInt:
      if (single || wide) return single ? Scalar::kUInt32 : Scalar::kUInt64;
      return half ? Scalar::kUInt16 : Scalar::kUInt8;
    case kDLBool: return Scalar::kBool;
    case kDLComplex:
      if (single || wide) return single ? Scalar::kComplex32 : Scalar::kComplex64;
      return Scalar::kComplex128;
    case kDLFloat8_e4m3fn: return Scalar::kFloat8E4M3;
    case kDLFloat8_e5m2: return Scalar::kFloat8E5M2;
    default: return Scalar::kOther;
  }
}

/// Valid until control returns to Python: sizes and strides belong to the tensor.
TensorView view(py::handle object, const char* argument) {
  if (!PyObject_TypeCheck(object.ptr(), tensor_type())) {
    reject(argument, "a torch.Tensor", std::string(py::str(py::type::of(object).attr("__name__"))));
  }
  DLTensor d;
  if (exchange().dltensor_from_py_object_no_sync(object.ptr(), &d) != 0) {
    const std::string reason = py::error_already_set().what();
    reject(argument, "a dense tensor in memory", reason.substr(0, reason.find('\n')));
  }
  TensorView v;
  v.data = static_cast<char*>(d.data) + d.byte_offset;
  v.dtype = scalar_of(d.dtype);
  v.device_type = d.device.device_type;
  v.device_index = d.device.device_id;
  v.dim = d.ndim;
  static const int64_t none = 0;
  v.sizes = d.ndim ? d.shape : &none;
  v.strides = d.ndim ? d.strides : &none;
  require_memory(v, argument);
  return v;
}

/// Work worth handing the interpreter to other threads for, in state elements (about 20 us).
constexpr int64_t kReleaseGil = 1 << 16;

void run(Executor& self, const StepCall& call) {
  if (self.host_elements() < kReleaseGil) return self.step(call);
  py::gil_scoped_release release;
  self.step(call);
}

/// out: a tensor [G * B, ...], a list or tuple of G tensors [B, ...], or None; the others: a tensor
/// [B, ...] or None.
void step(Executor& self, py::handle out, py::handle gain, py::handle x_in, py::handle x_out) {
  StepCall call;
  if (!gain.is_none()) call.gain = view(gain, "gain");
  if (!x_in.is_none()) call.x_in = view(x_in, "x_in");
  if (!x_out.is_none()) call.x_out = view(x_out, "x_out");
  if (out.is_none()) return run(self, call);
  if (PyObject_TypeCheck(out.ptr(), tensor_type())) {
    const TensorView v = view(out, "out");
    call.outputs = &v, call.count = 1;
    return run(self, call);
  }
  if (!PyList_Check(out.ptr()) && !PyTuple_Check(out.ptr())) {
    reject("out", "a tensor, or a list or tuple of tensors",
           std::string(py::str(py::type::of(out).attr("__name__"))));
  }
  std::vector<TensorView> views;
  for (py::handle item : py::reinterpret_borrow<py::sequence>(out)) {
    views.push_back(view(item, "out"));
  }
  if (views.empty()) reject("out", "at least one tensor", "an empty sequence");
  call.outputs = views.data(), call.count = static_cast<int64_t>(views.size());
  run(self, call);
}

void draw_from(py::handle state, py::handle out) {
  draw_from_state(view(state, "state"), view(out, "out"));
}

void skip_in(py::handle state, int64_t words) { skip_in_state(view(state, "state"), words); }

py::list step_operands() {
  py::list operands;
#define FD_LIST(type, name, dtype, shape, need) \
  operands.append(py::make_tuple(#name, !std::is_const_v<type>, #dtype, #shape, #need));
  FD_STEP_OPERANDS(FD_LIST)
#undef FD_LIST
  return operands;
}

py::list cpu_clones() {
  const Backend* clones[3];
  const int n = cpu::available(clones);
  py::list names;
  for (int i = 0; i < n; ++i) names.append(clones[i]->name);
  return names;
}

}  // namespace
}  // namespace fastdiff

PYBIND11_MODULE(_C, m) {
  using namespace fastdiff;
  m.attr("ROW_WIDTH") = kRowWidth;
  m.def("step_operands", &step_operands,
        "(name, whether it is written, dtype rule, shape rule, need) of each operand of a step.");
  py::class_<Executor>(m, "Executor", "The step with its buffers bound; see fastdiff.ops.bind.")
      .def(py::init(&take), py::arg("number"))
      .def("step", &step, py::arg("out"), py::arg("gain") = py::none(),
           py::arg("x_in") = py::none(), py::arg("x_out") = py::none())
      .def("moved", &Executor::moved,
           "Whether the memory of a bound tensor has moved since it was bound.");
  m.def("draw_from_state", &draw_from, py::arg("state"), py::arg("out"),
        "Fills out as torch.randn would from a generator in this state, which is moved on.");
  m.def("skip_in_state", &skip_in, py::arg("state"), py::arg("words"),
        "Moves the state of a generator on by that many words of 32 bits.");
  m.def("cpu_clones", &cpu_clones, "CPU clones that can run here, the fastest first.");
  m.def("cpu_clone", [] { return cpu::backend().name; }, "The CPU clone in use.");
  m.def("select_cpu_clone", &cpu::select, py::arg("name"));
  m.def(
      "current_stream",
      [](int32_t device) { return reinterpret_cast<uintptr_t>(current_stream(device)); },
      py::arg("device"), "The address of torch's current stream of a CUDA device.");
#ifdef FD_CUDA
  m.attr("cuda_archs") = std::string(cuda::architectures());
  m.attr("nvcc") = std::string(cuda::compiler());
  m.def("torch_threads", &cuda::torch_threads, py::arg("device"), py::arg("numel"),
        "Threads with which torch.randn fills so many numbers on a CUDA device.");
#else
  m.attr("cuda_archs") = "";
  m.attr("nvcc") = "";
#endif
}
