#include "torch/run.h"

#include "core/element.h"
#include "cpu/backend.h"
#include "torch/stable.h"

namespace fastdiff {
namespace {

// Tiles below which waking a second thread costs more than it saves (measured on two cores).
constexpr int64_t kGrainAffine = 128, kGrainNoise = 24;

template <class T>
bool draws_noise(const StepArgs& args, int64_t sample) {
  return use_of(static_cast<const Row<T>*>(args.rows)[args.row[sample]]).noise();
}

template <class F>
void over_units(int64_t units, int64_t grain, const F& f) {
  if (units <= grain) return f(0, units);
  torch::stable::parallel_for(0, units, grain, f);
}

}  // namespace

void run_step(const StepArgs& args) {
  const Backend& backend = cpu::backend();
  if (args.threshold) {
    over_units(args.batch, 1,
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
  const Backend& backend = cpu::backend();
  over_units(args.events * tiles_of(args.numel), kGrainNoise,
             [&](int64_t first, int64_t last) { backend.normal(args, first, last); });
}

void run_moments(const MomentArgs& args) {
  const Backend& backend = cpu::backend();
  over_units(args.batch, 1,
             [&](int64_t first, int64_t last) { backend.moments(args, first, last); });
}

}  // namespace fastdiff
