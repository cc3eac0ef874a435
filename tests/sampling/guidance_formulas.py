"""The guidances whose weights depend on the outputs, and the papers' formulas of their mixes."""

import numpy as np
import pytest
import torch

from fastdiff import ops
from fastdiff.guidance import APG, CFG, TCFG, CFGZeroStar
from tests.support.helpers import assert_within

SHIFT = torch.tensor([0.5, -1.0, 0.25])
CONDITIONS = {"cond": {"shift": SHIFT}, "uncond": {"shift": torch.zeros(3)}}


def assert_close(actual, expected, tolerance):
    """Within ``tolerance`` of the largest element: some of the toy's samples are large."""
    assert_within(actual, expected, tolerance * float(expected.abs().max().clamp(min=1)))


def over(x):
    return x.flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))


def rescaled(mixed, c, phi):
    def std(x):
        return x.flatten(1).std(1).reshape(-1, *[1] * (x.dim() - 1))

    return phi * mixed * std(c) / std(mixed) + (1 - phi) * mixed


def zero_star(u, c, s):
    a = over(c * u) / (over(u * u) + 1e-8)
    return a * u + s * (c - a * u)


def projected(u, c, s, eta, norm):
    d = c - u
    d = d * (norm / over(d * d).sqrt()).clamp(max=1)
    unit = c / over(c * c).sqrt()
    parallel = over(d * unit) * unit
    return c + (s - 1) * (d - parallel + eta * parallel)


def tangential(u, c, s):
    """By the singular vectors themselves."""
    rows = torch.stack([c.flatten(1), u.flatten(1)], 1)
    v = torch.linalg.svd(rows, full_matrices=False)[2][:, :1]
    kept = (u.flatten(1)[:, None] @ v.mT @ v).reshape(u.shape)
    return kept + s * (c - kept)


#: A guidance of scale s, and the mix that it stands for.
FORMULAS = {
    "rescale": (
        lambda s: CFG(s, 0.7),
        lambda u, c, s: rescaled(u + s * (c - u), c, 0.7),
    ),
    "zero-star": (lambda s: CFGZeroStar(s, zero_steps=0), zero_star),
    "zero-star, rescaled": (
        lambda s: CFGZeroStar(s, rescale=1.0, zero_steps=0),
        lambda u, c, s: rescaled(zero_star(u, c, s), c, 1.0),
    ),
    "apg": (lambda s: APG(s), lambda u, c, s: projected(u, c, s, 0.0, np.inf)),
    "apg, eta and norm": (
        lambda s: APG(s, eta=0.3, norm=2.5),
        lambda u, c, s: projected(u, c, s, 0.3, 2.5),
    ),
    "apg, from u": (
        lambda s: APG(s, eta=0.3, norm=2.5, from_uncond=True),
        lambda u, c, s: torch.where(
            torch.as_tensor(s) == 1, c, u + s * (projected(u, c, 2.0, 0.3, 2.5) - c)
        ),
    ),
    "tcfg": (lambda s: TCFG(s), tangential),
}
every_formula = pytest.mark.parametrize("name", FORMULAS)


def outputs(seed, shape=(3, 2, 5), dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    u = torch.randn(shape, generator=rng, dtype=dtype)
    return u, u + 0.7 * torch.randn(shape, generator=rng, dtype=dtype) + 0.3


def mixed_by(guidance, u, c):
    weights = np.broadcast_to(guidance.weights(np.array([1.0]), len(u))[0], (len(u), 2))
    sums, count = ops.moments(u, c), u[0].numel()
    by_arrays = guidance.adjust_weights(weights, sums.numpy(), count)
    by_tensors = guidance.adjust_weights(torch.tensor(weights), sums, count)
    torch.testing.assert_close(by_tensors.numpy(), by_arrays, rtol=1e-12, atol=1e-12)
    w = by_tensors.reshape(*by_tensors.shape, *[1] * (u.dim() - 1))
    return w[:, 0] * u + w[:, 1] * c
