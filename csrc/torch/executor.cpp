#include "torch/executor.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <utility>

#include "torch/run.h"

namespace fastdiff {
namespace {

/// Marks an executor as running; of several threads one gets through.
class Occupation {
 public:
  explicit Occupation(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire)) {
      throw std::runtime_error(
          "step: expected one thread at a time, got a call while another thread executes a step "
          "of the same state");
    }
  }
  ~Occupation() { busy_.store(false, std::memory_order_release); }
  Occupation(const Occupation&) = delete;

 private:
  std::atomic<bool>& busy_;
};

/// Whether an operand is written for the caller of a loop to look at.
bool is_shown(std::string_view name) {
#define FD_SHOWN(type, operand, dtype, shape, need)                                            \
  if (name == #operand) {                                                                      \
    return !std::is_const_v<type> &&                                                           \
           (ShapeRule::shape == ShapeRule::kLikeX || ShapeRule::shape == ShapeRule::kInputs || \
            ShapeRule::shape == ShapeRule::kTimes);                                            \
  }
  FD_STEP_OPERANDS(FD_SHOWN)
#undef FD_SHOWN
  return false;
}

void require_tickets(const TensorView& tickets, const TensorView& x) {
  if (tickets.dtype != Scalar::kInt32 || tickets.dim != 1 || tickets.sizes[0] != x.sizes[0] ||
      tickets.device_type != x.device_type || tickets.device_index != x.device_index) {
    reject("tickets", "int32 [" + std::to_string(x.sizes[0]) + "] on the device of x",
           describe(tickets));
  }
}

}  // namespace

StepTensors views_of(const BoundTensors& tensors) {
  StepTensors views;
  each_operand(tensors, views, [](const char* name, const auto& tensor, TensorView& to) {
    to = view(tensor, name);
  });
  return views;
}

Executor::Binding::Binding(const char* name, const torch::stable::Tensor& t)
    : name(name), tensor(t), view(fastdiff::view(t, name)) {
  sizes.assign(view.sizes, view.sizes + view.dim);
  strides.assign(view.strides, view.strides + view.dim);
  view.sizes = sizes.data(), view.strides = strides.data();
  storage_bytes = storage_bytes_of(t);
  shown = is_shown(name);
}

bool Executor::Binding::holds() const {
  return data_of(tensor) == view.data && storage_bytes_of(tensor) == storage_bytes &&
         (!shown || (has_sizes(tensor, sizes.data(), view.dim) &&
                     has_strides(tensor, strides.data(), view.dim)));
}

Executor::Executor(BoundTensors tensors, std::optional<torch::stable::Tensor> tickets,
                   int64_t torch_threads, bool torch_shared)
    : tensors_(std::move(tensors)),
      tickets_(std::move(tickets)),
      torch_threads_(torch_threads),
      torch_shared_(torch_shared) {
  bind();
}

void Executor::bind() {
  const StepTensors views = views_of(tensors_);
  StepArgs args = pack_step(views);
  args.torch_threads = torch_threads_, args.torch_shared = torch_shared_;
  if (args.device < 0) {
    for (int64_t r = 0; r < args.n_rows; ++r) check_row(args, r);
  } else {  // rows are not read back; the table was checked when it was made
    const TensorView tickets = view(tickets_, "tickets");
    require_tickets(tickets, views.x);
    ticket_data_ = static_cast<int32_t*>(tickets.data);
  }
  std::vector<Binding> bindings;
  int count = 0;
  each_operand(tensors_, views, [&](const char*, const auto&, const TensorView&) { ++count; });
  bindings.reserve(count);  // views point into the vectors of each
  each_operand(tensors_, views, [&](const char* name, const auto& tensor, const TensorView&) {
    if (tensor) bindings.emplace_back(name, *tensor);
  });
  bindings_ = std::move(bindings);
  args_ = args;
}

bool Executor::moved() const {
  return !std::all_of(bindings_.begin(), bindings_.end(),
                      [](const Binding& b) { return b.holds(); });
}

/// What tensors do in place (share_memory_, resize_, set_, .data = ...) is followed where the
/// tensor still is what was bound.
void Executor::bind_again() {
  for (const Binding& b : bindings_) {
    const auto refuse = [&](const std::string& got) {
      throw std::runtime_error(std::string(b.name) + ": expected the tensor that was bound, " +
                               describe(b.view) + ", got one that was changed in place: " + got);
    };
    TensorView now;
    try {
      now = view(b.tensor, b.name);
    } catch (const std::invalid_argument& error) {
      refuse(error.what());
    }
    const bool same = now.dtype == b.view.dtype && now.device_type == b.view.device_type &&
                      now.device_index == b.view.device_index &&
                      has_sizes(b.tensor, b.sizes.data(), b.view.dim) &&
                      has_strides(b.tensor, b.strides.data(), b.view.dim);
    if (!same) refuse(describe(now) + (now.contiguous() ? "" : ", not contiguous"));
  }
  bind();
}

void Executor::step(const StepCall& call) {
  const Occupation occupation(busy_);
  if (moved()) bind_again();
  if (args_.device < 0 && !check_rows(args_, call) && args_.batch > 0) {
    throw std::runtime_error("step: expected an unfinished sample, got " +
                             std::to_string(args_.batch) + " that are done");
  }
  bind_call(args_, bindings_[0].view, call);
  run_step(args_, ticket_data_);
}

namespace {

struct Waiting {
  std::mutex mutex;
  std::map<int64_t, std::unique_ptr<Executor>> executors;
  int64_t next = 1;
};
Waiting& waiting() {
  static Waiting& all = *new Waiting;  // torch may be gone when destructors run
  return all;
}

}  // namespace

int64_t leave(std::unique_ptr<Executor> executor) {
  Waiting& all = waiting();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.executors.emplace(all.next, std::move(executor));
  return all.next++;
}

std::unique_ptr<Executor> take(int64_t number) {
  Waiting& all = waiting();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.executors.find(number);
  if (found == all.executors.end()) {
    reject("number", "what torch.ops.fastdiff_native.bind returned, once", std::to_string(number));
  }
  std::unique_ptr<Executor> executor = std::move(found->second);
  all.executors.erase(found);
  return executor;
}

}  // namespace fastdiff
