"""The training operations as one writes them in PyTorch: what the fused ones are measured against.

Each takes what the fused one takes, but noise as normals.
"""

import math

import torch
import torch.nn.functional as F
from torch.special import log_ndtr

from fastdiff.schedules import VPLinear

NARROW = 0.02  # standard deviations
SCHEDULE = VPLinear()  # of the denoising loss


def columns(values, like):
    return (v.reshape(-1, *[1] * (like.dim() - 1)) for v in values.unbind(1))


def total(values):
    return values.flatten(1).sum(1)


def mix_noise(x, mix, z):
    a, b, c, d = columns(mix, x)
    return a * x + b * z, c * x + d * z


def squared_error(output, target, weight):
    return weight * total((output - target).square())


def mse_loss(output, target, weight):
    return weight * total(F.mse_loss(output, target, reduction="none"))


def denoising_loss(x, output, t, eps, min_snr=None):
    """||eps - output||^2 at x_t on ``SCHEDULE``, whose integral is written out; x_t is made for the
    network, whose output is given."""
    low, high = SCHEDULE.beta_min, SCHEDULE.beta_max
    integral = t * (low + 0.5 * (high - low) * t)
    alpha, sigma = torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))
    a, s = columns(torch.stack([alpha, sigma], 1), x)
    _ = a * x + s * eps
    loss = total(F.mse_loss(output, eps, reduction="none"))
    if min_snr is None:
        return loss
    snr = (alpha / sigma) ** 2
    return snr.clamp(max=min_snr) / snr * loss


def gaussian_sample_kl(mean, log_var, z):
    sample = mean + torch.exp(0.5 * log_var) * z
    return sample, 0.5 * total(mean.square() + torch.expm1(log_var) - log_var)


def gaussian_kl(mean, log_var, mean_p, log_var_p):
    excess = log_var - log_var_p
    distance = (mean - mean_p).square() * torch.exp(-log_var_p)
    return 0.5 * total(torch.expm1(excess) - excess + distance)


def gaussian_log_prob(x, mean, log_var):
    square = (x - mean).square() * torch.exp(-log_var)
    return -0.5 * total(square + log_var + math.log(2 * math.pi))


def bernoulli(x, logits):
    return -total(F.binary_cross_entropy_with_logits(logits, x, reduction="none"))


def categorical(level, logits):
    chosen = logits.gather(-1, level[..., None])[..., 0]
    return total(chosen - logits.logsumexp(-1))


def cross_entropy(level, logits):
    flat = F.cross_entropy(logits.flatten(0, -2), level.flatten(), reduction="none")
    return -total(flat.reshape(level.shape))


def bin_of(x, mean, precision, depth):
    half = 1 / (depth - 1)
    low, high = precision * (x - mean - half), precision * (x - mean + half)
    return low, high, 2 * half * precision


def log1mexp(x):
    """log(1 - e^x) for x < 0."""
    near = x > -math.log(2)
    close, far = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))


def with_tails(x, depth, lowest, inside, highest):
    edge = 1 - 1 / (depth - 1)
    return torch.where(x < -edge, lowest, torch.where(x > edge, highest, inside))


def discretised_gaussian(x, mean, log_var, depth):
    low, high, width = bin_of(x, mean, torch.exp(-0.5 * log_var), depth)
    middle = 0.5 * (low + high)
    mirrored = middle > 0
    top = log_ndtr(torch.where(mirrored, -low, high))
    bottom = log_ndtr(torch.where(mirrored, -high, low))
    narrow = width * middle.abs().clamp(min=1.0) < NARROW
    bend = (width.square() / 24 * (middle.square() - 1)).clamp(-0.5, 0.5)
    density = torch.log(width) - 0.5 * (middle.square() + math.log(2 * math.pi)) + torch.log1p(bend)
    inside = torch.where(narrow, density, top + log1mexp(torch.where(narrow, -1.0, bottom - top)))
    return total(with_tails(x, depth, log_ndtr(high), inside, log_ndtr(-low)))


def discretised_logistic(x, mean, log_scale, depth):
    low, high, width = bin_of(x, mean, torch.exp(-log_scale), depth)
    inside = F.logsigmoid(high) + F.logsigmoid(-low) + log1mexp(-width)
    return total(with_tails(x, depth, F.logsigmoid(high), inside, F.logsigmoid(-low)))
