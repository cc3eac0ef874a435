"""Score matching without a tractable target.

Denoising score matching is ``denoising_loss`` with ``prediction="score"``; here are the
forms that need only samples of the density itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..arguments import alike, describe, flag, function, tensor
from .batch import standard_normal


def implicit(score, x: Tensor) -> Tensor:
    """tr(ds/dx) + 1/2 ||s||^2 of each sample, [B]. Hyvarinen 2005, theorem 1.

    One backward pass per dimension: an oracle for small ones.

    Args:
        score: score(x) -> [B, ...], each sample on its own.
        x: samples [B, ...].
    """
    function("score", score)
    x = _differentiable(x)
    with torch.enable_grad():
        s = _scores(score, x)
        trace = x.new_zeros(len(x))
        for i, component in enumerate(s.flatten(1).sum(0)):
            (row,) = torch.autograd.grad(component, x, create_graph=True)
            trace = trace + row.flatten(1)[:, i]
    return trace + 0.5 * s.flatten(1).square().sum(1)


def sliced(score, x: Tensor, probe: Tensor, *, reduced: bool = True) -> Tensor:
    """v' (ds/dx) v + 1/2 ||s||^2 of each sample, [B]: its mean over v is ``implicit``.

    Song et al. 2019, "Sliced score matching", eqs. 7 and 8.

    Args:
        score: score(x) -> [B, ...], each sample on its own.
        x: samples [B, ...].
        probe: v [B, ...] with E[v v'] = I: Gaussian or Rademacher.
        reduced: the variance-reduced form above; otherwise 1/2 (v's)^2 in place of 1/2 ||s||^2.
    """
    function("score", score)
    x = _differentiable(x)
    alike("probe", probe, "x", x)
    flag("reduced", reduced)
    with torch.enable_grad():
        s = _scores(score, x)
        along = (s * probe).flatten(1).sum(1)
        (row,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    curvature = (row * probe).flatten(1).sum(1)
    norm = s.flatten(1).square().sum(1) if reduced else along.square()
    return curvature + 0.5 * norm


def rademacher(keys: Tensor, like: Tensor) -> Tensor:
    """Signs, from the bits of the normals of ``keys`` [B, 2]; shape and dtype of ``like``."""
    tensor("keys", keys, floating=False)
    if keys.is_floating_point():
        raise ValueError(f"keys: expected int64 keys [B, 2], got {describe(keys)}")
    return torch.where(standard_normal(keys, like) < 0, -1.0, 1.0).to(like)


def _differentiable(x: Tensor) -> Tensor:
    tensor("x", x, dims=1)
    return x if x.requires_grad else x.detach().requires_grad_()


def _scores(score, x: Tensor) -> Tensor:
    s = score(x)
    if not isinstance(s, Tensor) or s.shape != x.shape or not s.requires_grad:
        got = describe(s) + (" without a gradient" if isinstance(s, Tensor) else "")
        raise ValueError(
            f"score: expected a function whose value has the shape {list(x.shape)} of x and a "
            f"gradient with respect to it, got {got}"
        )
    return s
