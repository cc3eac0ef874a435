"""The operations of training and their gradients in plain PyTorch, on float64 tensors.

The oracle of every backend and the fallback on any device: ``fastdiff.ops.differentiable`` widens
the arguments, draws the noise and rounds the results. ``fastdiff.ops.training`` documents them.
"""

import math

import torch
import torch.nn.functional as F

LOG_2PI = math.log(2 * math.pi)
NARROW = 0.005  # half a bin in standard deviations: series and difference lose 1e-13 there


def _column(values, like):
    """[B] as [B, 1, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _sum(values):
    return values.reshape(len(values), math.prod(values.shape[1:])).sum(1)


def mix(x, mix, z):
    a, b, c, d = (_column(column, x) for column in mix.unbind(1))
    return a * x + b * z, c * x + d * z


def mix_grad(g, h, x, mix, z):
    a, b, c, d = (_column(column, x) for column in mix.unbind(1))
    to_mix = torch.stack([_sum(i * v) for i in (g, h) for v in (x, z)], 1)
    return a * g + c * h, to_mix, b * g + d * h


def squared_error(output, target, weight, scale):
    return (weight * scale * _sum((output - target).square()),)


def squared_error_grad(g, output, target, weight, scale):
    along = 2 * _column(g * weight * scale, output) * (output - target)
    return along, -along, g * scale * _sum((output - target).square())


def gaussian_sample(mean, log_var, z):
    return mean + torch.exp(0.5 * log_var) * z, 0.5 * _sum(mean.square() + _excess(log_var))


def gaussian_sample_grad(g, k, mean, log_var, z):
    k = k if k.dim() == 0 else _column(k, mean)
    to_noise = _times_exp(g, 0.5 * log_var)
    return g + k * mean, 0.5 * (to_noise * z + k * torch.expm1(log_var)), to_noise


def gaussian_kl(mean, log_var, mean_p, log_var_p):
    distance = _times_exp((mean - mean_p).square(), -log_var_p)
    return (0.5 * _sum(_excess(log_var - log_var_p) + distance),)


def gaussian_kl_grad(g, mean, log_var, mean_p, log_var_p):
    g, d = _column(g, mean), mean - mean_p
    along = g * _times_exp(d, -log_var_p)
    wider = g * torch.expm1(log_var - log_var_p)
    return along, 0.5 * wider, -along, -0.5 * (along * d + wider)


def _times_exp(a, x):
    """a e^x, zero where a is, whatever e^x."""
    return torch.where(a == 0, 0.0, a * torch.exp(x))


def _excess(v):
    """e^v - 1 - v, whose terms cancel where v is small: there a series."""
    small = v.abs() < 1e-2
    near = torch.where(small, v, 0.0)
    series = near * near / 2 * (1 + near / 3 * (1 + near / 4 * (1 + near / 5 * (1 + near / 6))))
    return torch.where(small, series, torch.expm1(v) - v)


def gaussian_log_prob(x, mean, log_var):
    return (-0.5 * _sum(_times_exp((x - mean).square(), -log_var) + log_var + LOG_2PI),)


def gaussian_log_prob_grad(g, x, mean, log_var):
    g, d = _column(g, x), x - mean
    along = g * _times_exp(d, -log_var)
    return -along, along, 0.5 * (along * d - g)


def bernoulli(x, logits):
    return (_sum(x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)),)


def bernoulli_grad(g, x, logits):
    return None, _column(g, x) * (x - torch.sigmoid(logits))


def categorical(level, logits):
    chosen = logits.gather(-1, level[..., None])[..., 0]
    return (_sum(chosen - logits.logsumexp(-1)),)


def categorical_grad(g, level, logits):
    chosen = F.one_hot(level, logits.shape[-1])
    return None, _column(g, logits) * (chosen - logits.softmax(-1))


def discretised_logistic(x, mean, log_scale, depth):
    return (_sum(_logistic_bin(x, mean, log_scale, depth)[0]),)


def discretised_logistic_grad(g, x, mean, log_scale, depth):
    _, d_mean, d_scale = _logistic_bin(x, mean, log_scale, depth)
    return None, _column(g, x) * d_mean, _column(g, x) * d_scale


def discretised_gaussian(x, mean, log_var, depth):
    return (_sum(_gaussian_bin(x, mean, log_var, depth)[0]),)


def discretised_gaussian_grad(g, x, mean, log_var, depth):
    _, d_mean, d_log_var = _gaussian_bin(x, mean, log_var, depth)
    return None, _column(g, x) * d_mean, _column(g, x) * d_log_var


def _bin(x, mean, log_scale, depth):
    """1 / scale, and the edges of the bin of x in units of it; where it is open."""
    half = 1 / (depth - 1)
    s = torch.exp(-log_scale)
    return s, s * (x - mean - half), s * (x - mean + half), x < half - 1, x > 1 - half


def _logistic_bin(x, mean, log_scale, depth):
    """log p of each level and its gradient to mean and log-scale: csrc/core/bins.h."""
    s, low, high, lowest, highest = _bin(x, mean, log_scale, depth)
    width = 2 * s / (depth - 1)
    inside = ~(lowest | highest)
    up = torch.where(highest, 0.0, torch.sigmoid(-high))
    down = torch.where(lowest, 0.0, torch.sigmoid(low))
    part = -torch.expm1(-width)
    value = (
        torch.where(inside, torch.log(part), 0.0)
        + torch.where(highest, 0.0, F.logsigmoid(high))
        + torch.where(lowest, 0.0, F.logsigmoid(-low))
    )
    spread = low * down - high * up + torch.where(inside, width - width / part, 0.0)
    return value, s * (down - up), spread


def _mills(u):
    """(1 - Phi(u)) / phi(u)."""
    return math.sqrt(math.pi / 2) * torch.special.erfcx(u / math.sqrt(2))


def _gaussian_bin(x, mean, log_var, depth):
    """log p of each level and its gradient to mean and log-variance: csrc/core/bins.h."""
    s, low, high, lowest, highest = _bin(x, mean, 0.5 * log_var, depth)
    open_, d = lowest | highest, s / (depth - 1)
    sign = torch.where(lowest | ((x < mean) & ~open_), -1.0, 1.0).to(s)
    u = torch.where(sign > 0, low, -high)
    w = torch.where(sign > 0, high, -low)
    a, outside = (u + w) / 2, u >= 0
    # Wide bins, relative to phi(u) outside and to one where the bin reaches over the mean.
    fade_minus_one = torch.where(open_, -1.0, torch.expm1(-2 * a * d))
    upper = torch.where(open_, 0.0, torch.exp(-2 * a * d) * _mills(w.clamp(min=0)))
    density = torch.exp(-0.5 * u * u - 0.5 * LOG_2PI)
    beyond = density * (_mills(u.abs()) + upper)
    ratio = torch.where(outside, _mills(u.clamp(min=0)) - upper, 1 - beyond)
    far = -0.5 * u * u - 0.5 * LOG_2PI + torch.log(ratio)
    value = torch.where(outside, far, torch.log1p(-beyond))
    scale = torch.where(outside, 1.0, density) / ratio
    # Narrow bins: the integral of phi by its Taylor series around the middle.
    narrow = ~open_ & (d * a.clamp(min=1) < NARROW)
    q, b = d * d, (a * d).square()
    parts = [(b - q) / 6, (b * b - 6 * b * q + 3 * q * q) / 120]
    series = 1 + sum(parts)
    slope = 1 / 3 + (4 * b - 12 * q) / 120
    bend = b * slope + 2 * parts[0] + 4 * parts[1]
    near = math.log(2 / (depth - 1)) - 0.5 * (log_var + LOG_2PI + a * a) + torch.log(series)
    d_a = torch.where(narrow, a * (q * slope / series - 1), fade_minus_one * scale)
    twice = torch.where(narrow, 1 - a * a + bend / series, scale * (fade_minus_one * w + 2 * d))
    return torch.where(narrow, near, value), -s * sign * d_a, -0.5 * twice
