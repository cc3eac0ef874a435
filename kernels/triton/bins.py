"""Distributions cut into bins: csrc/core/bins.h, whose comments explain the formulas.

Each function returns the log-probability of the bin of x, and its derivatives to the mean and to
the logarithm that gives the width.
"""

import triton
import triton.language as tl

from .math import _coefficients, divide, exp, exponential, fma, log, polynomial, sigmoid, softplus

MILLS_32 = _coefficients(
    "0x1.e4aa02p+0 -0x1.8615dp+0 0x1.f0d986p-1 -0x1.dec65p-2 0x1.360cecp-3 -0x1.3480bcp-6 "
    "-0x1.1dd2d4p-7 0x1.00d0f6p-8 0x1.5eeac2p-12 -0x1.9cfa0ep-12 -0x1.197ae4p-18"
)
MILLS_64 = _coefficients(
    "0x1.e4aa012912ddep+0 -0x1.8615d9b49165fp+0 0x1.f0d9856bc3b07p-1 -0x1.dec30ee67901ap-2 "
    "0x1.360ce26020a85p-3 -0x1.35aa3c9530225p-6 -0x1.1dcfea79f1044p-7 0x1.0be6d6773e171p-8 "
    "0x1.5e7b1bb21fefap-12 -0x1.2fb435fa902a6p-11 -0x1.4100a93735555p-18 0x1.7180198c884c3p-14 "
    "0x1.e2431ed1d8839p-20 -0x1.f20f61cccd065p-17 -0x1.a7e7b1376343p-20 0x1.58c9d7de095c3p-19 "
    "0x1.6f017f72bb694p-21 -0x1.ae2b50fabb13ap-22 -0x1.d5081db108779p-23 0x1.81074648ce9aap-25 "
    "0x1.d12e7e2fec4a8p-25 -0x1.9edb739154363p-30 -0x1.471d42bc6d2adp-27 -0x1.439eced185599p-32 "
    "0x1.e479640555c3bp-31"
)
HALF_LOG_2PI = tl.constexpr(0.91893853320467274178)


@triton.jit
def mills(u):
    """(1 - Phi(u)) / phi(u) for u >= 0."""
    inverse = divide(tl.full(u.shape, 1.0, u.dtype), u + 4.0)
    place = fma(tl.full(u.shape, -8.0, u.dtype), inverse, 1.0)
    if u.dtype == tl.float32:
        return polynomial(MILLS_32, 11, place) * inverse
    else:
        return polynomial(MILLS_64, 25, place) * inverse


@triton.jit
def numbers(x, DEPTH: tl.constexpr):
    """Half the width of a bin, the edge beyond which bins are open, and log of the width."""
    half = 1.0 / (tl.full([1], DEPTH, tl.float64) - 1.0)
    return half.to(x.dtype), (1.0 - half).to(x.dtype), log(2.0 * half).to(x.dtype)


@triton.jit
def gaussian_bin(x, mean, log_var, DEPTH: tl.constexpr):
    half, edge, log_width = numbers(x, DEPTH)
    s = exp(-0.5 * log_var)
    c = s * (x - mean)
    d = s * half
    lowest = x < -edge
    is_open = lowest | (x > edge)
    sign = tl.where(lowest | ((c < 0) & (is_open == 0)), -1.0, 1.0).to(x.dtype)
    a = sign * c
    u = a - d
    w = a + d
    size = tl.where(u < 0, -u, u)
    if x.dtype == tl.float32:
        narrow = (d * tl.where(a > 1, a, 1.0) < 0.3) & (is_open == 0)
    else:
        narrow = (d * tl.where(a > 1, a, 1.0) < 0.03) & (is_open == 0)
    outside = u >= 0

    q = d * d
    ad = a * d
    b = ad * ad
    s2 = (b - q) * (1.0 / 6)
    s4 = tl.fma(b, b, tl.fma(-6.0 * b, q, 3.0 * q * q)) * (1.0 / 120)
    mixed = 15.0 * q * q * tl.fma(tl.full(b.shape, 3.0, b.dtype), b, -q)
    s6 = tl.fma(b * b, tl.fma(tl.full(q.shape, -15.0, q.dtype), q, b), mixed) * (1.0 / 5040)
    series = 1.0 + (s2 + (s4 + s6))
    fourth = tl.fma(tl.full(b.shape, 4.0, b.dtype), b, -12.0 * q)
    sixth = tl.fma(-60.0 * b, q, tl.fma(6.0 * b, b, 90.0 * q * q))
    slope = scale_add(sixth, 1.0 / 5040, scale_add(fourth, 1.0 / 120, 1.0 / 3 + 0.0 * b))
    along = scale_add(s6, 6.0, scale_add(s4, 4.0, scale_add(s2, 2.0, b * slope)))

    value, minus_one, _ = exponential(-2.0 * ad)
    fade = tl.where(is_open, 0.0, value)
    fade_minus_one = tl.where(is_open, -1.0, minus_one)
    upper = tl.where(is_open, 0.0, fade * mills(w))
    density = exp(-tl.fma(0.5 * size, size, tl.full(size.shape, HALF_LOG_2PI, size.dtype)))
    tail = mills(size)
    beyond = density * (tail + upper)
    ratio = tl.where(outside, tail - upper, 1.0 - beyond)
    scale = divide(tl.where(outside, 1.0, density), ratio)

    constant = log_width - tl.full(size.shape, HALF_LOG_2PI, size.dtype)
    near = tl.fma(-0.5 * a, a, scale_add(log_var, -0.5, constant))
    far = tl.fma(-0.5 * size, size, tl.full(size.shape, -HALF_LOG_2PI, size.dtype))
    lost = divide((1.0 - ratio) - beyond, ratio)
    total = log(tl.where(narrow, series, ratio))
    total += tl.where(narrow, near, tl.where(outside, far, lost))

    inner = a * tl.fma(q, divide(slope, series), tl.full(q.shape, -1.0, q.dtype))
    d_a = tl.where(narrow, inner, fade_minus_one * scale)
    curved = tl.fma(-a, a, 1.0 + divide(along, series))
    twice = tl.where(narrow, curved, scale * tl.fma(fade, w, -u))
    return total, -(s * sign) * d_a, -0.5 * twice


@triton.jit
def scale_add(x, constant: tl.constexpr, y):
    """constant x + y, fused."""
    return tl.fma(tl.full(x.shape, constant, x.dtype), x, y)


@triton.jit
def logistic_bin(x, mean, log_scale, DEPTH: tl.constexpr):
    half, edge, log_width = numbers(x, DEPTH)
    s = exp(-log_scale)
    c = x - mean
    low = s * (c - half)
    high = s * (c + half)
    w = 2.0 * s * half
    lowest = x < -edge
    highest = x > edge
    inside = (lowest | highest) == 0
    up = tl.where(highest, 0.0, sigmoid(-high))
    down = tl.where(lowest, 0.0, sigmoid(low))

    width = tl.where(w > 1e-30, w, 1e-30)
    _, minus_one, _ = exponential(-width)
    part = -minus_one
    narrow = width < 1.0
    gap = log(tl.where(narrow, divide(part, width), part))
    gap += tl.where(narrow, log_width - log_scale, 0.0)

    value = tl.where(inside, gap, 0.0) - tl.where(highest, 0.0, softplus(-high))
    value -= tl.where(lowest, 0.0, softplus(low))
    spread = tl.where(low > -87.0, low, -87.0) * down - tl.where(high < 87.0, high, 87.0) * up
    return value, s * (down - up), spread + tl.where(inside, width - divide(width, part), 0.0)
