"""The operations of training in plain PyTorch: float64 throughout, rounded once on store.

Each writes into the tensors that it is given, those that are None not being wanted, and is the
oracle of every backend and the fallback on any device. ``fastdiff.ops.training`` documents them.
"""

import math

import torch

from .reference import normals, wide_normals

LOG_2PI = math.log(2 * math.pi)
NARROW = 0.03  # half a bin in standard deviations, see csrc/core/gaussian.h


def _wide(value, like):
    """float64; zeros like ``like`` for None."""
    return torch.zeros_like(like, dtype=torch.float64) if value is None else value.double()


def _column(values, like):
    """[B] as float64 [B, 1, ...]."""
    return values.double().reshape(len(values), *[1] * (like.dim() - 1))


def _normals(noise, like):
    if noise is None or noise.is_floating_point():
        return _wide(noise, like)
    make = wide_normals if like.dtype == torch.float64 else normals
    drawn = make(noise, math.prod(like.shape[1:])).reshape(like.shape)
    return drawn if like.dtype == torch.float64 else drawn.float().double()


def _store(*pairs):
    for to, value in pairs:
        if to is not None:
            to.copy_(value)


def _sum(values):
    return values.reshape(len(values), -1).sum(1) if values.numel() else values.new_zeros(len(values))


def mix_(first, second, drawn, x, noise, mix):
    like = noise if x is None else x
    x, z = _wide(x, like), _normals(noise, like)
    a, b, p, q = (_column(column, like) for column in mix.flatten(1).unbind(1))
    _store((first, a * x + b * z), (second, p * x + q * z), (drawn, z))


def mix_sums_(sums, first, second, x, noise):
    z = _normals(noise, x)
    pairs = [(g, v) for g in (first, second) for v in (x.double(), z)]
    sums.copy_(torch.stack([_sum(_wide(g, x) * v) for g, v in pairs], 1).reshape(sums.shape))


def _difference(output, x, mix, noise):
    if mix is None:
        return output.double() - x.double()
    p, q = (_column(column, x) for column in mix.unbind(1))
    return output.double() - (p * x.double() + q * _normals(noise, output))


def squared_error_(error, output, x, weight, scale, mix, noise):
    error.copy_(weight.double() * scale * _sum(_difference(output, x, mix, noise).square()))


def squared_error_grad_(to_output, gradient, output, x, weight, scale, mix, noise):
    slope = _column(2 * gradient.double() * weight.double() * scale, x)
    to_output.copy_(slope * _difference(output, x, mix, noise))


def gaussian_sample_(sample, kl, mean, log_var, noise):
    z, mean, log_var = _normals(noise, mean), mean.double(), log_var.double()
    sample.copy_(mean + torch.exp(0.5 * log_var) * z)
    kl.copy_(0.5 * _sum(mean.square() + _excess(log_var)))


def gaussian_sample_grad_(to_mean, to_log_var, of_sample, of_kl, mean, log_var, noise):
    z, g = _normals(noise, mean), _wide(of_sample, mean)
    k = torch.zeros(()) if of_kl is None else _column(of_kl, mean)
    mean, log_var = mean.double(), log_var.double()
    spread = g * torch.exp(0.5 * log_var) * z
    _store((to_mean, g + k * mean), (to_log_var, 0.5 * (spread + k * torch.expm1(log_var))))


def gaussian_kl_(kl, mean, log_var, mean_p, log_var_p):
    mean, log_var, mean_p, log_var_p = (v.double() for v in (mean, log_var, mean_p, log_var_p))
    distance = (mean - mean_p).square() * torch.exp(-log_var_p)
    kl.copy_(0.5 * _sum(_excess(log_var - log_var_p) + distance))


def gaussian_kl_grad_(
    to_mean, to_log_var, to_mean_p, to_log_var_p, gradient, mean, log_var, mean_p, log_var_p
):  # fmt: skip
    g = _column(gradient, mean)
    mean, log_var, mean_p, log_var_p = (v.double() for v in (mean, log_var, mean_p, log_var_p))
    along = g * (mean - mean_p) * torch.exp(-log_var_p)
    wider = g * torch.expm1(log_var - log_var_p)
    _store((to_mean, along), (to_log_var, 0.5 * wider), (to_mean_p, -along),
           (to_log_var_p, -0.5 * (along * (mean - mean_p) + wider)))  # fmt: skip


def _excess(v):
    """e^v - 1 - v, whose terms cancel where v is small: there a series."""
    small = v.abs() < 1e-2
    near = torch.where(small, v, 0.0)
    series = near * near / 2 * (1 + near / 3 * (1 + near / 4 * (1 + near / 5 * (1 + near / 6))))
    return torch.where(small, series, torch.expm1(v) - v)


def discretised_gaussian_(log_prob, x, mean, log_var, depth):
    log_prob.copy_(_sum(_bin(x, mean, log_var, depth)[0]))


def discretised_gaussian_grad_(to_mean, to_log_var, gradient, x, mean, log_var, depth):
    g, (_, d_mean, d_log_var) = _column(gradient, x), _bin(x, mean, log_var, depth)
    _store((to_mean, g * d_mean), (to_log_var, g * d_log_var))


def _mills(u):
    """(1 - Phi(u)) / phi(u)."""
    return math.sqrt(math.pi / 2) * torch.special.erfcx(u / math.sqrt(2))


def _bin(x, mean, log_var, depth):
    """log p of each level and its gradient to mean and log-variance: csrc/core/gaussian.h."""
    x, mean, log_var = x.double(), mean.double(), log_var.double()
    half = 1 / (depth - 1)
    s = torch.exp(-0.5 * log_var)
    lowest, highest = x < half - 1, x > 1 - half
    open_ = lowest | highest
    sign = torch.where(lowest | ((x < mean) & ~open_), -1.0, 1.0).to(s)
    a, d = sign * s * (x - mean), s * half
    u, w = a - d, a + d
    outside = u >= 0
    # Wide bins, relative to phi(u) outside and to one where the bin reaches over the mean.
    fade_minus_one = torch.where(open_, -1.0, torch.expm1(-2 * a * d))
    upper = torch.where(open_, 0.0, torch.exp(-2 * a * d) * _mills(w.clamp(min=0)))
    density = torch.exp(-0.5 * u * u - 0.5 * LOG_2PI)
    beyond = density * (_mills(u.abs()) + upper)
    ratio = torch.where(outside, _mills(u.clamp(min=0)) - upper, 1 - beyond)
    base = torch.where(outside, -0.5 * u * u - 0.5 * LOG_2PI + torch.log(ratio), torch.log1p(-beyond))
    scale = torch.where(outside, 1.0, density) / ratio
    # Narrow bins: the integral of phi by its Taylor series around the middle.
    narrow = ~open_ & (d * a.clamp(min=1) < NARROW)
    q, b = d * d, (a * d).square()
    parts = [(b - q) / 6, (b * b - 6 * b * q + 3 * q * q) / 120]
    series = 1 + sum(parts)
    slope = 1 / 3 + (4 * b - 12 * q) / 120
    width = b * slope + 2 * parts[0] + 4 * parts[1]
    near = math.log(2 * half) - 0.5 * (log_var + LOG_2PI + a * a) + torch.log(series)
    d_a = torch.where(narrow, a * (q * slope / series - 1), fade_minus_one * scale)
    twice = torch.where(
        narrow, 1 - a * a + width / series, scale * (fade_minus_one * w + 2 * d)
    )
    return torch.where(narrow, near, base), -s * sign * d_a, -0.5 * twice
