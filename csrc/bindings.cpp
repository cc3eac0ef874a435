// The Python module fastdiff._C: the bound executor and facts about the build. Importing it also
// registers the ops (torch/register.cpp).
#include <ATen/dlpack.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
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
  if (d.code == kDLFloat && d.bits == 32) return Scalar::kFloat32;
  if (d.code == kDLFloat && d.bits == 64) return Scalar::kFloat64;
  if (d.code == kDLFloat && d.bits == 16) return Scalar::kFloat16;
  if (d.code == kDLBfloat && d.bits == 16) return Scalar::kBFloat16;
  if (d.code == kDLInt && d.bits == 64) return Scalar::kInt64;
  if (d.code == kDLInt && d.bits == 32) return Scalar::kInt32;
  if (d.code == kDLUInt && d.bits == 8) return Scalar::kUInt8;
  return Scalar::kOther;
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

TensorView optional_view(const py::object& object, const char* argument) {
  return object.is_none() ? TensorView() : view(object, argument);
}

Executor make_executor(const py::object& x, const py::object& row, const py::object& rows,
                       const py::object& weights, const py::object& keys, const py::object& saved,
                       const py::object& history, const py::object& z, const py::object& z_prev,
                       const py::object& model_input, const py::object& t,
                       const py::object& second_weights, const py::object& known,
                       const py::object& mask, const py::object& threshold,
                       const py::object& tickets, int64_t torch_threads, bool torch_shared) {
  StepTensors in;
  in.x = view(x, "x"), in.row = view(row, "row"), in.rows = view(rows, "rows");
  in.weights = optional_view(weights, "weights"), in.keys = view(keys, "keys");
  in.saved = optional_view(saved, "saved"), in.history = optional_view(history, "history");
  in.z = optional_view(z, "z"), in.z_prev = optional_view(z_prev, "z_prev");
  in.model_input = view(model_input, "model_input"), in.t = view(t, "t");
  in.second_weights = optional_view(second_weights, "second_weights");
  in.known = optional_view(known, "known"), in.mask = optional_view(mask, "mask");
  in.threshold = optional_view(threshold, "threshold");
  in.tickets = optional_view(tickets, "tickets");
  in.torch_threads = torch_threads, in.torch_shared = torch_shared;
  return Executor(in);
}

/// Work worth handing the interpreter to other threads for, in state elements (about 20 us).
constexpr int64_t kReleaseGil = 1 << 16;

void run(Executor& self, const TensorView* views, int64_t count, const TensorView& gain) {
  if (self.elements() < kReleaseGil) return self.step(views, count, gain);
  py::gil_scoped_release release;
  self.step(views, count, gain);
}

/// out: a tensor [G * B, ...], a list or tuple of G tensors [B, ...], or None; gain: a tensor
/// [B, ...] or None.
void step(Executor& self, py::handle out, py::handle gain_object) {
  const TensorView gain = gain_object.is_none() ? TensorView() : view(gain_object, "gain");
  if (PyObject_TypeCheck(out.ptr(), tensor_type())) {
    const TensorView v = view(out, "out");
    return run(self, &v, 1, gain);
  }
  if (out.is_none()) return run(self, nullptr, 0, gain);
  if (!PyList_Check(out.ptr()) && !PyTuple_Check(out.ptr())) {
    reject("out", "a tensor, or a list or tuple of tensors",
           std::string(py::str(py::type::of(out).attr("__name__"))));
  }
  std::vector<TensorView> views;
  for (py::handle item : py::reinterpret_borrow<py::sequence>(out)) {
    views.push_back(view(item, "out"));
  }
  if (views.empty()) reject("out", "at least one tensor", "an empty sequence");
  run(self, views.data(), static_cast<int64_t>(views.size()), gain);
}

void draw_from(py::handle state, py::handle out) {
  draw_from_state(view(state, "state"), view(out, "out"));
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
  py::class_<Executor>(m, "Executor")
      .def(py::init(&make_executor), py::arg("x"), py::arg("row"), py::arg("rows"),
           py::arg("weights"), py::arg("keys"), py::arg("saved"), py::arg("history"), py::arg("z"),
           py::arg("z_prev"), py::arg("model_input"), py::arg("t"), py::arg("second_weights"),
           py::arg("known"), py::arg("mask"), py::arg("threshold"), py::arg("tickets") = py::none(),
           py::arg("torch_threads") = 0, py::arg("torch_shared") = false, py::keep_alive<1, 2>(),
           py::keep_alive<1, 3>(), py::keep_alive<1, 4>(), py::keep_alive<1, 5>(),
           py::keep_alive<1, 6>(), py::keep_alive<1, 7>(), py::keep_alive<1, 8>(),
           py::keep_alive<1, 9>(), py::keep_alive<1, 10>(), py::keep_alive<1, 11>(),
           py::keep_alive<1, 12>(), py::keep_alive<1, 13>(), py::keep_alive<1, 14>(),
           py::keep_alive<1, 15>(), py::keep_alive<1, 16>(), py::keep_alive<1, 17>())
      .def("step", &step, py::arg("out"), py::arg("gain") = py::none());
  m.def("draw_from_state", &draw_from, py::arg("state"), py::arg("out"),
        "Fills out as torch.randn would from a generator in this state, which is moved on.");
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
