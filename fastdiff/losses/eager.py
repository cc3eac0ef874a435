"""The operations of training in plain, differentiable PyTorch, one row of numbers per sample.

All of them reduce to one number per sample, [B], and know no schedule: what depends on the noise
level arrives as a column of coefficients. Gradients flow to every floating-point argument.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.special import log_ndtr

from .. import ops

LOG_2PI = math.log(2 * math.pi)
NARROW = 0.02  # standard deviations: the next term of the expansion is below 1e-10 there


def standard_normal(noise: Tensor, like: Tensor) -> Tensor:
    """The noise itself, or the one drawn from keys.

    Args:
        noise: standard normals of the shape of ``like``, or int64 keys [B, 2] (``fastdiff.noise``),
            of which draw 0 is taken.
        like: [B, ...], whose shape, dtype and device the noise has.
    """
    if noise.is_floating_point():
        if noise.shape != like.shape:
            raise ValueError(f"noise: expected {list(like.shape)}, got {list(noise.shape)}")
        return noise
    if noise.dtype != torch.int64 or noise.shape != (len(like), 2):
        raise ValueError(
            f"noise: expected {list(like.shape)} normals or int64 keys [{len(like)}, 2], "
            f"got {noise.dtype} {list(noise.shape)}"
        )
    return ops.normal(noise.to(like.device), like.shape[1:], dtype=like.dtype)


def per_sample(values: Tensor, x: Tensor) -> Tensor:
    """[B] as [B, 1, ...] to go with x [B, ...]; anything else as it is."""
    if values.dim() != 1 or x.dim() == 1:
        return values
    return values.reshape(-1, *[1] * (x.dim() - 1))


def noise_and_target(x0: Tensor, levels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """x_t = alpha x0 + sigma eps and the target a x0 + b eps of the network, in one pass.

    Args:
        x0: clean data, [B, ...].
        levels: [B, 4], the columns alpha, sigma, a, b of each sample
            (``fastdiff.losses.levels`` makes them for every schedule and prediction).
        noise: eps, see ``standard_normal``.

    Returns:
        x_t and the target, both [B, ...].
    """
    if levels.shape != (len(x0), 4):
        raise ValueError(f"levels: expected [{len(x0)}, 4], got {list(levels.shape)}")
    eps = standard_normal(noise, x0)
    alpha, sigma, a, b = (per_sample(column, x0) for column in levels.to(x0.dtype).unbind(1))
    return alpha * x0 + sigma * eps, a * x0 + b * eps


def squared_error(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """weight ||output - target||^2 of each sample, [B]; ``weight`` is [B]."""
    if output.shape != target.shape:
        raise ValueError(f"output: expected {list(target.shape)}, got {list(output.shape)}")
    if weight.shape != output.shape[:1]:
        raise ValueError(f"weight: expected [{len(output)}], got {list(weight.shape)}")
    return weight * _sum((output - target).square())


def gaussian_sample_kl(mean: Tensor, log_var: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of N(mean, e^log_var) and the KL of that Gaussian to N(0, I).

    z = mean + e^(log_var / 2) eps and KL = 1/2 sum(mean^2 + e^log_var - 1 - log_var): Kingma and
    Welling 2014, "Auto-encoding variational Bayes", sec. 2.4 and appendix B.

    Args:
        mean, log_var: [B, ...].
        noise: eps, see ``standard_normal``.

    Returns:
        z [B, ...] and the KL in nats, [B].
    """
    z = mean + torch.exp(0.5 * log_var) * standard_normal(noise, mean)
    return z, 0.5 * _sum(mean.square() + torch.expm1(log_var) - log_var)


def gaussian_kl(mean: Tensor, log_var: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) || N(mean_p, e^log_var_p)) in nats, [B]; arguments broadcast.

    The first argument decides the shape [B, ...] summed over.
    """
    excess = log_var - log_var_p
    distance = (mean - mean_p).square() * torch.exp(-log_var_p)
    return 0.5 * _sum((torch.expm1(excess) - excess + distance).expand_as(mean))


def gaussian_log_prob(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; mean, e^log_var) in nats, [B]; ``mean`` and ``log_var`` broadcast to x [B, ...]."""
    square = (x - mean).square() * torch.exp(-log_var)
    return -0.5 * _sum((square + log_var + LOG_2PI).expand_as(x))


def discretised_gaussian(x: Tensor, mean: Tensor, log_var: Tensor, depth: int) -> Tensor:
    """Log-probability of grey levels under a Gaussian cut into bins, [B] in nats.

    The ``depth`` levels lie evenly in [-1, 1]; each owns the bin half-way to its neighbours, the
    outermost ones everything beyond (Ho et al. 2020, "Denoising diffusion probabilistic models",
    eq. 13).

    Args:
        x: [B, ...] values on the levels.
        mean, log_var: broadcast to x.
        depth: number of levels, >= 2.
    """
    low, high, width = _bin(x, mean, torch.exp(-0.5 * log_var), depth)
    middle = 0.5 * (low + high)
    # Phi(high) - Phi(low) = Phi(-low) - Phi(-high): on the side where Phi is small.
    mirrored = middle > 0
    top = log_ndtr(torch.where(mirrored, -low, high))
    bottom = log_ndtr(torch.where(mirrored, -high, low))
    # In a narrow bin the difference is lost to rounding; the density to second order is not.
    narrow = width * middle.abs().clamp(min=1.0) < NARROW
    gap = torch.where(narrow, torch.full_like(top, -1.0), bottom - top)
    bend = (width.square() / 24 * (middle.square() - 1)).clamp(-0.5, 0.5)
    density = torch.log(width) - 0.5 * (middle.square() + LOG_2PI) + torch.log1p(bend)
    inside = torch.where(narrow, density, top + _log1mexp(gap))
    return _sum(_with_tails(x, depth, log_ndtr(high), inside, log_ndtr(-low)))


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, depth: int) -> Tensor:
    """As ``discretised_gaussian`` under a logistic distribution of scale e^log_scale, [B].

    Salimans et al. 2017, "PixelCNN++", eq. 2, in a form without cancellation: sigmoid(h) -
    sigmoid(l) = sigmoid(h) sigmoid(-l) (1 - e^(l - h)).
    """
    low, high, width = _bin(x, mean, torch.exp(-log_scale), depth)
    inside = F.logsigmoid(high) + F.logsigmoid(-low) + _log1mexp(-width)
    return _sum(_with_tails(x, depth, F.logsigmoid(high), inside, F.logsigmoid(-low)))


def categorical(level: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of grey levels under logits of each pixel, [B] in nats.

    Args:
        level: int64 [B, ...] in 0..K-1.
        logits: [B, ..., K], not necessarily normalised.
    """
    if logits.shape[:-1] != level.shape:
        raise ValueError(
            f"logits: expected {[*level.shape, 'K']}, one row for each level, "
            f"got {list(logits.shape)}"
        )
    chosen = logits.gather(-1, level[..., None])[..., 0]
    return _sum(chosen - logits.logsumexp(-1))


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """sum x log p + (1 - x) log(1 - p) with p = sigmoid(logits), [B] in nats.

    Args:
        x: [B, ...] in [0, 1]; values in between are expectations of binary pixels.
        logits: [B, ...].
    """
    return _sum(x * logits - F.softplus(logits))


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def _bin(x, mean, precision, depth):
    """Standardised edges of the bin of x, and its width."""
    if depth < 2:
        raise ValueError(f"depth: expected at least 2 levels, got {depth}")
    half = 1 / (depth - 1)
    centred = x - mean
    low, high = precision * (centred - half), precision * (centred + half)
    return low, high, (2 * half * precision).expand_as(low)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0."""
    near = x > -math.log(2)
    safe = torch.where(near, torch.full_like(x, -1.0), x)
    close = torch.where(near, x, torch.full_like(x, -1.0))
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(safe)))


def _with_tails(x, depth, lowest, inside, highest):
    """The outermost levels own the tails."""
    edge = 1 - 1 / (depth - 1)
    return torch.where(x < -edge, lowest, torch.where(x > edge, highest, inside))
