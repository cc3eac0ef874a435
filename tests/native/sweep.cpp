// All 2^32 words through the normal transform: finite, bounded, and close to float64.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/normal.h"

using namespace fastdiff;

constexpr int kChunk = 4096;

struct Extremes {
  float radius_max = 0, radius_min = 0, circle_error = 0;
  bool finite = true;
};

static Extremes sweep() {
  Extremes seen;
  for (uint64_t first = 0; first < (1ull << 32); first += kChunk) {
    float high = 0, low = 0, circle = 0;
    int bad = 0;
    for (int i = 0; i < kChunk; ++i) {
      const float u = unit_interval(static_cast<uint32_t>(first + i));
      const float radius = sqrt_(-2.0f * log_(u));
      const SinCos<float> angle = sincos_turns(u);
      const float error = fma_(angle.sin, angle.sin, fma_(angle.cos, angle.cos, -1.0f));
      bad += !(radius <= 7.0f) || !(std::fabs(error) <= 1.0f);
      high = radius > high ? radius : high;
      low = radius < low ? radius : low;
      circle = std::fabs(error) > circle ? std::fabs(error) : circle;
    }
    seen.finite = seen.finite && bad == 0;
    seen.radius_max = high > seen.radius_max ? high : seen.radius_max;
    seen.radius_min = low < seen.radius_min ? low : seen.radius_min;
    seen.circle_error = circle > seen.circle_error ? circle : seen.circle_error;
  }
  return seen;
}

/// Largest |normal - the same formula in float64| over a lattice of word pairs.
static double largest_error() {
  double worst = 0;
  for (uint64_t i = 0; i < 4000000; ++i) {
    const uint32_t a = static_cast<uint32_t>(i * 2654435761u);
    const uint32_t b = static_cast<uint32_t>(i * 2246822519u + 374761393u);
    // Half of the lattice in the tails, where the radius is large.
    const uint32_t r = i % 2 ? a : a >> (i % 31);
    const NormalPair<float> got = normal_pair(r, b);
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(unit_interval(r))));
    const double angle = 2.0 * M_PI * static_cast<double>(unit_interval(b));
    worst = std::fmax(worst, std::fabs(got.first - radius * std::cos(angle)));
    worst = std::fmax(worst, std::fabs(got.second - radius * std::sin(angle)));
  }
  return worst;
}

int main() {
  const Extremes seen = sweep();
  std::printf("{\"finite\": %s, \"radius_min\": %.9g, \"radius_max\": %.9g, ",
              seen.finite ? "true" : "false", seen.radius_min, seen.radius_max);
  std::printf("\"circle_error\": %.3g, \"error\": %.3g}\n", seen.circle_error, largest_error());
}
