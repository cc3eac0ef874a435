#include "torch/generator.h"

#include <cstring>

#include "cpu/backend.h"
#include "torch/threads.h"

namespace fastdiff {
namespace {

/// The bytes of a state, as torch has written them since its first version.
struct GeneratorState {
  uint64_t seed;
  int32_t left, seeded;  // one more than there are words left
  uint64_t next;
  uint64_t state[kMersenneWords];
  unsigned char others[40];  // of distributions that keep a second number
};
static_assert(sizeof(GeneratorState) == 5056);

constexpr int64_t kBlock = 16;

/// The engine of a state, which is written back when this goes.
class Standing {
 public:
  explicit Standing(const TensorView& state) {
    const bool is_state = state.dtype == Scalar::kUInt8 && state.dim == 1 && state.contiguous() &&
                          state.device_type == 1 && state.sizes[0] == sizeof(GeneratorState);
    if (!is_state) {
      reject("state", "uint8 [" + std::to_string(sizeof(GeneratorState)) + "] on cpu",
             describe(state));
    }
    bytes_ = static_cast<GeneratorState*>(state.data);
    if (bytes_->left < 1 || bytes_->left > kMersenneWords || bytes_->next > kMersenneWords ||
        bytes_->next + static_cast<uint64_t>(bytes_->left) > kMersenneWords + 1) {
      reject("state", "the place of a generator in its words",
             std::to_string(bytes_->left) + " left from " + std::to_string(bytes_->next));
    }
    for (int i = 0; i < kMersenneWords; ++i) {
      engine.state[i] = static_cast<uint32_t>(bytes_->state[i]);
    }
    engine.next = static_cast<int32_t>(bytes_->next), engine.left = bytes_->left - 1;
  }
  ~Standing() {
    for (int i = 0; i < kMersenneWords; ++i) bytes_->state[i] = engine.state[i];
    bytes_->next = static_cast<uint64_t>(engine.next), bytes_->left = engine.left + 1;
  }
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;

  Mersenne engine;

 private:
  GeneratorState* bytes_;
};

}  // namespace

void draw_from_state(const TensorView& state, const TensorView& out) {
  const int64_t n = out.numel();
  if (out.dtype != Scalar::kFloat32 || out.device_type != 1 || !out.contiguous() || n < kBlock) {
    reject("out", "contiguous float32 on cpu, 16 numbers or more", describe(out));
  }
  Standing standing(state);
  Mersenne& engine = standing.engine;
  const Backend& backend = cpu::backend();
  float* const numbers = static_cast<float*>(out.data);
  backend.mersenne_words(engine, reinterpret_cast<uint32_t*>(numbers), n);
  over_units(n / kBlock, kGrainNoise * kTile / kBlock,
             [&](int64_t first, int64_t last) { backend.mersenne_normals(numbers, first, last); });
  if (n % kBlock != 0) {  // the last sixteen numbers are drawn again
    float* const last = numbers + n - kBlock;
    backend.mersenne_words(engine, reinterpret_cast<uint32_t*>(last), kBlock);
    backend.mersenne_normals(last, 0, 1);
  }
}

void skip_in_state(const TensorView& state, int64_t words) {
  if (words < 0) reject("words", "0 or more", std::to_string(words));
  Standing standing(state);
  cpu::backend().mersenne_words(standing.engine, nullptr, words);
}

}  // namespace fastdiff
