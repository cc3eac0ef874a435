"""What becomes of one element in a pass: the formulas of csrc/core/formula.h, in their order of
operations.

Each takes inputs a, b, c, d, noise z, numbers p, q, r, s of the sample and a zero o, and returns
four outputs and four terms of sums, o where it has none.
"""

import triton
import triton.language as tl

from .bins import gaussian_bin, logistic_bin
from .math import exp, exp_for, exponential, log1p, sigmoid

LOG_2PI = tl.constexpr(1.83787706640934548356)


@triton.jit
def mix(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    return tl.fma(q, z, p * a), tl.fma(s, z, r * a), o, o, o, o, o, o


@triton.jit
def mix_sums(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    return o, o, o, o, a * c, a * z, b * c, b * z


@triton.jit
def squared_error(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    gap = a - b
    return o, o, o, o, gap * gap, o, o, o


@triton.jit
def squared_error_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    along = p * (a - b)
    return along, -along, o, o, o, o, o, o


@triton.jit
def gaussian_sample(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    value, minus_one, excess = exponential(0.5 * b)
    cost = tl.fma(a, a, tl.fma(minus_one, minus_one, 2.0 * excess))
    return tl.fma(value, z, a), o, o, o, cost, o, o, o


@triton.jit
def gaussian_sample_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    value, minus_one, _ = exponential(0.5 * b)
    to_noise = tl.where(c == 0, 0.0, c * value)
    to_log_var = 0.5 * tl.fma(to_noise, z, p * (minus_one * (minus_one + 2.0)))
    return tl.fma(p, a, c), to_log_var, to_noise, o, o, o, o, o


@triton.jit
def gaussian_kl(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    gap = a - c
    _, _, excess = exponential(b - d)
    return o, o, o, o, tl.fma(gap * gap, exp_for(gap * gap, -d), excess), o, o, o


@triton.jit
def gaussian_kl_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    gap = a - c
    along = p * (gap * exp_for(gap, -d))
    _, minus_one, _ = exponential(b - d)
    wider = p * minus_one
    return along, 0.5 * wider, -along, -0.5 * tl.fma(along, gap, wider), o, o, o, o


@triton.jit
def gaussian_log_prob(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    gap = a - b
    return o, o, o, o, tl.fma(gap * gap, exp_for(gap * gap, -c), c + LOG_2PI), o, o, o


@triton.jit
def gaussian_log_prob_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    gap = a - b
    along = p * (gap * exp_for(gap, -c))
    return -along, along, 0.5 * tl.fma(along, gap, -p), o, o, o, o, o


@triton.jit
def bernoulli(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    likely = tl.where(b > 0, (a - 1.0) * b, a * b)
    return o, o, o, o, likely - log1p(exp(-tl.abs(b))), o, o, o


@triton.jit
def bernoulli_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    return p * (a - sigmoid(b)), o, o, o, o, o, o, o


@triton.jit
def discretised_gaussian(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    value, _, _ = gaussian_bin(a, b, c, DEPTH)
    return o, o, o, o, value, o, o, o


@triton.jit
def discretised_gaussian_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    _, d_mean, d_width = gaussian_bin(a, b, c, DEPTH)
    return p * d_mean, p * d_width, o, o, o, o, o, o


@triton.jit
def discretised_logistic(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    value, _, _ = logistic_bin(a, b, c, DEPTH)
    return o, o, o, o, value, o, o, o


@triton.jit
def discretised_logistic_grad(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    _, d_mean, d_width = logistic_bin(a, b, c, DEPTH)
    return p * d_mean, p * d_width, o, o, o, o, o, o


@triton.jit
def total(a, b, c, d, z, p, q, r, s, o, DEPTH: tl.constexpr):
    return o, o, o, o, a, o, o, o
