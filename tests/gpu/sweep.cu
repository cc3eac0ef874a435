// All 2^32 words through the normal transform on a device: finite, bounded, and the bits that the
// host makes of them. Prints JSON; exit status 0: so it is.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "core/normal.h"

using namespace fastdiff;

constexpr int kRanges = 4096;  // each has a checksum of its own, made by one block
constexpr uint32_t kWords = 1u << 20;
constexpr int kThreads = 256;

/// What was seen of a range; sizes of floats as bits, which are ordered as the numbers are.
struct Seen {
  uint32_t radius_max, circle_max, bad;
  uint64_t checksum;  // a sum: in any order the same
};

FD_HD uint64_t mix(uint64_t v) {
  v = (v ^ (v >> 31)) * 0x9E3779B97F4A7C15ull;
  return v ^ (v >> 29);
}

FD_HD void examine(uint32_t word, Seen& seen) {
  const float u = unit_interval(word);
  const float radius = sqrt_(-2.0f * log_(u));
  const SinCos<float> angle = sincos_turns(u);
  const float off = fma_(angle.sin, angle.sin, fma_(angle.cos, angle.cos, -1.0f));
  const float circle = off < 0 ? -off : off;
  seen.bad += !(radius >= 0 && radius <= 7) || !(circle <= 1);
  const uint32_t r = bit_cast<uint32_t>(radius), c = bit_cast<uint32_t>(circle);
  const uint32_t size = r & 0x7fffffffu;  // the radius of u = 1 is -0
  seen.radius_max = size > seen.radius_max ? size : seen.radius_max;
  seen.circle_max = c > seen.circle_max ? c : seen.circle_max;
  const uint64_t sine = bit_cast<uint32_t>(angle.sin), cosine = bit_cast<uint32_t>(angle.cos);
  seen.checksum += mix(mix(sine << 32 | cosine) ^ (static_cast<uint64_t>(word) << 32 | r));
}

__global__ void sweep(Seen* ranges) {
  Seen own = {};
  const uint32_t first = blockIdx.x * kWords;
  for (uint32_t i = threadIdx.x; i < kWords; i += kThreads) examine(first + i, own);
  Seen& all = ranges[blockIdx.x];
  atomicMax(&all.radius_max, own.radius_max);
  atomicMax(&all.circle_max, own.circle_max);
  atomicAdd(&all.bad, own.bad);
  atomicAdd(reinterpret_cast<unsigned long long*>(&all.checksum), own.checksum);
}

static std::vector<Seen> on_host() {
  std::vector<Seen> ranges(kRanges, Seen{});
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < std::max(1u, std::thread::hardware_concurrency()); ++k) {
    threads.emplace_back([&] {
      for (int r; (r = next++) < kRanges;) {
        Seen own = {};
        for (uint32_t i = 0; i < kWords; ++i) examine(static_cast<uint32_t>(r) * kWords + i, own);
        ranges[r] = own;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ranges;
}

static std::vector<Seen> on_device(cudaError_t& error) {
  std::vector<Seen> ranges(kRanges, Seen{});
  const size_t bytes = kRanges * sizeof(Seen);
  Seen* there = nullptr;
  error = cudaMalloc(&there, bytes);
  if (error == cudaSuccess) error = cudaMemset(there, 0, bytes);
  if (error == cudaSuccess) {
    sweep<<<kRanges, kThreads>>>(there);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) error = cudaMemcpy(ranges.data(), there, bytes, cudaMemcpyDefault);
  cudaFree(there);
  return ranges;
}

int main() {
  cudaError_t error;
  const std::vector<Seen> device = on_device(error);
  if (error != cudaSuccess) {
    std::printf("{\"error\": \"%s\"}\n", cudaGetErrorString(error));
    return 1;
  }
  const std::vector<Seen> host = on_host();
  Seen total = {};
  int different = 0;
  for (int r = 0; r < kRanges; ++r) {
    total.bad += device[r].bad;
    total.radius_max = std::max(total.radius_max, device[r].radius_max);
    total.circle_max = std::max(total.circle_max, device[r].circle_max);
    different += device[r].checksum != host[r].checksum;
  }
  std::printf("{\"words\": %llu, \"not finite or out of bounds\": %u, \"radius_max\": %.9g, ",
              static_cast<unsigned long long>(kRanges) * kWords, total.bad,
              bit_cast<float>(total.radius_max));
  std::printf("\"circle_error\": %.3g, \"ranges that differ from the host\": %d, \"ranges\": %d}\n",
              bit_cast<float>(total.circle_max), different, kRanges);
  return total.bad != 0 || different != 0;
}
