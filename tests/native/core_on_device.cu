// Compile check: the headers of csrc/core, as a device would use them. Never run.
#include <cuda_runtime.h>

#include "core/convert.h"
#include "core/element.h"
#include "core/launch.h"
#include "core/moments.h"
#include "core/normal.h"

using namespace fastdiff;

/// One element in registers: the smallest tile that apply_row can work on.
struct RegisterTile {
  struct Sum {
    float value = 0.0f;
    FD_MEMBER void add(float coef, float operand) { value = fma_(coef, operand, value); }
  };

  float x_, saved_, history_[kHistory], out_, m_, z_, z_prev_;
  uint64_t seed, block;
  float* to;

  FD_MEMBER float x() const { return x_; }
  FD_MEMBER float saved() const { return saved_; }
  FD_MEMBER float history(int slot) const { return history_[slot]; }
  FD_MEMBER float output() const { return out_; }
  FD_MEMBER float quantity() const { return m_; }
  FD_MEMBER float noise() const { return z_; }
  FD_MEMBER float previous_noise() const { return z_prev_; }
  FD_MEMBER void fetch_outputs() { out_ += 1.0f; }
  FD_MEMBER void mix_outputs() { out_ *= 2.0f; }
  FD_MEMBER void set_quantity(const Sum& m, float low, float high) {
    m_ = clip(m.value, low, high);
  }
  FD_MEMBER void draw_noise() {
    const Words w = philox_block(seed, block);
    z_ = normal_pair(w.w0, w.w1).first;
  }
  FD_MEMBER void draw_previous_noise() { z_prev_ = 0.0f; }
  FD_MEMBER void store_saved(const Sum& saved) const { to[1] = saved.value; }
  FD_MEMBER void store_history(int, const Sum& memory) const { to[2] = memory.value; }
  FD_MEMBER void store_next(const Sum& next, float in_scale) const {
    to[0] = next.value;
    BFloat16 y;
    from_float(in_scale * next.value, y);
    to[3] = to_float(y);
  }
};

__global__ void apply(const Row<float>* row, const float* in, float* out, double* sums) {
  RegisterTile tile = {};
  tile.x_ = in[threadIdx.x];
  tile.out_ = in[threadIdx.x + blockDim.x];
  tile.to = out + 4 * threadIdx.x;
  const Use use = use_of(*row);
  fetch(use, tile);
  apply_row(*row, use, tile);
  Moments lanes[kMomentLanes] = {};
  accumulate(lanes[0], tile.x_, tile.out_);
  sums[threadIdx.x] = fold(lanes).ab + normal_pair(philox_block(1, threadIdx.x)).first;
}
