// What one thread does in a pass: runs of consecutive elements of one chunk of a sample. A function
// of the arguments, the block and the thread alone, so that a host can walk a whole grid with it.
#pragma once

#include "core/pass.h"
#include "cuda/access.h"
#include "cuda/draw_thread.h"
#include "cuda/plan.h"

namespace fastdiff::cuda {

/// Threads of a block: together they hold every lane of a sum, each those of one run (kRun
/// elements: one 16-byte access, one Philox block).
template <class T>
constexpr int kPassThreads = kSumLanes / kRun<T>;

/// The shape of a launch, decided on the host.
struct PassPlan {
  int32_t
      threads;     // of a block: a power of two; fewer than kPassThreads where that covers a sample
  int64_t chunks;  // of a sample; blocks are numbered over (sample, chunk)
  bool wide_in[kMaxTensors], wide_noise, wide_out[kMaxTensors];
};

inline bool reads_wide(const Input& in, int run) {
  const int64_t bytes = access_bytes(in.dtype, run);
  return !in.constant && is_aligned(in.data, bytes) &&
         in.sample_stride * size_of(in.dtype) % bytes == 0;
}

inline PassPlan plan_pass(const PassArgs& args) {
  const int run = args.compute == DType::kFloat64 ? kRun<double> : kRun<float>;
  PassPlan plan = {};
  plan.chunks = sum_chunks_of(args.numel);
  plan.threads = 32;
  while (plan.threads * run < kSumLanes && plan.threads * run < args.numel) plan.threads *= 2;
  plan.wide_noise = reads_wide(args.noise, run);
  const auto writes_wide = [&](const Output& out) {
    return reads_wide({out.data, out.dtype, args.numel, false}, run);
  };
  for (int k = 0; k < kMaxTensors; ++k) {
    plan.wide_in[k] = reads_wide(args.in[k], run);
    plan.wide_out[k] = writes_wide(args.out[k]);
  }
  return plan;
}

template <class T>
using Values = Run<T, kRun<T>>;

/// The elements [at, at + n) of a sample.
struct Place {
  int64_t sample, at;
  int n;
};

template <class T, class Memory>
FD_HD void load_input(const Input& in, const Place& place, bool wide, Values<T>& to) {
  if (!in.data) {
    to = {};
    return;
  }
  with_operand_dtype<T>(in.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    const M* from = static_cast<const M*>(in.data) + place.sample * in.sample_stride;
    Run<M, kRun<T>> raw;
    if (in.constant) {
      FD_UNROLL
      for (int i = 0; i < kRun<T>; ++i) raw.v[i] = *from;
    } else {
      const bool whole = wide && place.n == kRun<T>;
      Memory::template load<M, kRun<T>>(from + place.at, place.n, whole, raw);
    }
    FD_UNROLL
    for (int i = 0; i < kRun<T>; ++i) to.v[i] = to_float(raw.v[i]);
  });
}

template <class T, class Memory>
FD_HD void store_output(const Output& out, int64_t numel, const Place& place, bool wide,
                        const Values<T>& from) {
  if (!out.data) return;
  with_operand_dtype<T>(out.dtype, [&](auto tag) {
    using M = typename decltype(tag)::type;
    Run<M, kRun<T>> raw;
    FD_UNROLL
    for (int i = 0; i < kRun<T>; ++i) from_float(from.v[i], raw.v[i]);
    M* const to = static_cast<M*>(out.data) + place.sample * numel + place.at;
    Memory::template store<M, kRun<T>>(raw, place.n, wide && place.n == kRun<T>, to);
  });
}

template <class T>
FD_HD void draw_run(const int64_t* keys, const Place& place, Values<T>& to) {
  const uint64_t seed = static_cast<uint64_t>(keys[2 * place.sample]);
  const uint64_t block =
      static_cast<uint64_t>(keys[2 * place.sample + 1]) + static_cast<uint64_t>(place.at / kRun<T>);
  block_normals(philox_block(seed, block), to.v);
}

/// Room for the lanes of every sum; one that is not used where there is none.
template <class F, class T>
using Lanes = double[F::kSums ? F::kSums : 1][kRun<T>];

/// What a thread of block `block` computes, stores and adds to its lanes.
template <class F, class T, class Memory>
FD_HD void pass_thread(const PassArgs& args, const PassPlan& plan, const Prepared<T>& prepared,
                       int64_t block, int thread, Lanes<F, T>& lanes) {
  const int64_t sample = block / plan.chunks, begin = block % plan.chunks * kSumChunk;
  const int64_t end = begin + kSumChunk < args.numel ? begin + kSumChunk : args.numel;
  for (int64_t at = begin + thread * kRun<T>; at < end; at += plan.threads * kRun<T>) {
    const Place place = {sample, at, end - at < kRun<T> ? static_cast<int>(end - at) : kRun<T>};
    Values<T> in[kMaxTensors], out[kMaxTensors], noise;
    FD_UNROLL
    for (int k = 0; k < F::kInputs; ++k) {
      load_input<T, Memory>(args.in[k], place, plan.wide_in[k], in[k]);
    }
    if constexpr (F::kNoise) {
      if (args.keys) {
        draw_run(args.keys, place, noise);
      } else {
        load_input<T, Memory>(args.noise, place, plan.wide_noise, noise);
      }
    }
    FD_UNROLL
    for (int i = 0; i < kRun<T>; ++i) {
      Element<T> e;
      FD_UNROLL
      for (int k = 0; k < F::kInputs; ++k) e.in[k] = in[k].v[i];
      if constexpr (F::kNoise) e.noise = noise.v[i];
      FD_UNROLL
      for (int k = 0; k < F::kNumbers; ++k) e.number[k] = prepared.number[k];
      F::element(e);
      FD_UNROLL
      for (int k = 0; k < F::kOutputs; ++k) out[k].v[i] = e.out[k];
      FD_UNROLL
      for (int k = 0; k < F::kSums; ++k) {
        if (i < place.n) lanes[k][i] += static_cast<double>(e.term[k]);
      }
    }
    FD_UNROLL
    for (int k = 0; k < F::kOutputs; ++k) {
      store_output<T, Memory>(args.out[k], args.numel, place, plan.wide_out[k], out[k]);
    }
  }
}

}  // namespace fastdiff::cuda
