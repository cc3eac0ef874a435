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

/// Work worth handing the interpreter to other threads for, in state elements (about 20 us).
constexpr int64_t kReleaseGil = 1 << 16;

void run(Executor& self, const TensorView* views, int64_t count, const TensorView& gain) {
  if (self.host_elements() < kReleaseGil) return self.step(views, count, gain);
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

void skip_in(py::handle state, int64_t words) { skip_in_state(view(state, "state"), words); }

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
  py::class_<Executor>(m, "Executor", "The step with its buffers bound; see fastdiff.ops.bind.")
      .def(py::init(&take), py::arg("number"))
      .def("step", &step, py::arg("out"), py::arg("gain") = py::none())
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
