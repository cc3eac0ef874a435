#include "torch/run.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "core/element.h"
#include "core/pass.h"
#include "cpu/backend.h"
#include "cuda/backend.h"
#include "torch/threads.h"

namespace fastdiff {
namespace {

template <class T>
bool draws_noise(const StepArgs& args, int64_t sample) {
  return use_of(args, static_cast<const Row<T>*>(args.rows)[args.row[sample]]).noise();
}

/// torch's own function, looked for in the library that a torch for CUDA has loaded. It cannot be a
/// symbol of this module: that is linked against any torch, and torch loads its libraries locally.
using GetStream = int32_t (*)(int32_t device, void** stream);
GetStream find_get_stream() {
  void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  void* const found = dlsym(library ? library : RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream");
  return reinterpret_cast<GetStream>(found);
}

/// Calls f(stream) with torch's current stream of the device.
template <class F>
void on_device(int32_t device, const F& f) {
#ifdef FD_CUDA
  const int error = f(current_stream(device));
  if (error != 0) throw std::runtime_error(std::string("CUDA: ") + cuda::message(error));
#else
  (void)f;
  throw std::runtime_error("fastdiff was built without nvcc: cuda:" + std::to_string(device) +
                           " has no native kernels here");
#endif
}

/// Samples of one chunk have their results; others (and those without elements) get them here.
void fold_results(const PassArgs& args) {
  if (!args.result.data || sum_chunks_of(args.numel) == 1) return;
  for (int64_t sample = 0; sample < args.batch; ++sample) fold_chunks(args, sample, args.sums);
}

}  // namespace

void* current_stream(int32_t device) {
  static const GetStream get = find_get_stream();
  void* stream = nullptr;
  const std::string where = "cuda:" + std::to_string(device);
  if (!get) throw std::runtime_error("this torch was built without CUDA: no stream of " + where);
  if (get(device, &stream) != 0) throw std::runtime_error("torch has no stream of " + where);
  return stream;
}

void run_step(const StepArgs& args, int32_t* tickets) {
  if (args.device >= 0) {
    return on_device(args.device, [&](void* stream) { return cuda::step(args, tickets, stream); });
  }
  const Backend& backend = cpu::backend();
  if (args.threshold) {
    over_units(args.batch, samples_of_grain(kGrainFormula, args.numel),
               [&](int64_t first, int64_t last) { backend.thresholds(args, first, last); });
  }
  const int64_t units = args.batch * tiles_of(args.numel);
  if (units > 0) {
    const bool noisy = !args.z && (args.state == DType::kFloat32 ? draws_noise<float>(args, 0)
                                                                 : draws_noise<double>(args, 0));
    over_units(units, noisy ? kGrainNoise : kGrainAffine,
               [&](int64_t first, int64_t last) { backend.step(args, first, last); });
  }
  backend.step_advance(args);
}

void run_normal(const NormalArgs& args) {
  if (args.device >= 0) {
    return on_device(args.device, [&](void* stream) { return cuda::normal(args, stream); });
  }
  const Backend& backend = cpu::backend();
  over_units(args.events * tiles_of(args.numel), kGrainNoise,
             [&](int64_t first, int64_t last) { backend.normal(args, first, last); });
}

void run_moments(const MomentArgs& args, double* partial) {
  if (args.device >= 0) {
    return on_device(args.device,
                     [&](void* stream) { return cuda::moments(args, partial, stream); });
  }
  const Backend& backend = cpu::backend();
  over_units(args.batch, samples_of_grain(kGrainAffine, args.numel),
             [&](int64_t first, int64_t last) { backend.moments(args, first, last); });
}

void run_pass(const PassArgs& args) {
  if (args.batch == 0) return;
  if (args.device >= 0) {
    return on_device(args.device, [&](void* stream) { return cuda::pass(args, stream); });
  }
  const Backend& backend = cpu::backend();
  const int64_t units = backend.pass_units(args);
  const bool costly = args.formula >= Formula::kGaussianSample;
  const int64_t tiles = costly ? kGrainFormula : args.keys ? kGrainNoise : kGrainAffine;
  const int64_t elements = tiles * kTile;
  const int64_t grain = units * elements / (args.batch * args.numel + 1);
  if (units > 0) {
    over_units(units, grain > 0 ? grain : 1,
               [&](int64_t first, int64_t last) { backend.pass(args, first, last); });
  }
  fold_results(args);
}

void run_categorical(const CategoricalArgs& args) {
  const PassArgs& pass = args.pass;
  if (pass.batch == 0) return;
  if (pass.device >= 0) {
    return on_device(pass.device, [&](void* stream) { return cuda::categorical(args, stream); });
  }
  const Backend& backend = cpu::backend();
  const int64_t rows = pass.numel < kSumChunk ? pass.numel : kSumChunk;  // of a unit
  over_units(pass.batch * sum_chunks_of(pass.numel),
             kGrainFormula / (tiles_of(rows * args.classes) + 1) + 1,
             [&](int64_t first, int64_t last) { backend.categorical(args, first, last); });
  fold_results(pass);
}

}  // namespace fastdiff
