"""Score matching without a tractable target.

Denoising score matching is ``denoising_loss`` with ``prediction="score"``; here are the
forms that need only samples of the density itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .batch import standard_normal


def implicit(score, x: Tensor) -> Tensor:
    """tr(ds/dx) + 1/2 ||s||^2 of each sample, [B]. Hyvarinen 2005, theorem 1.

    One backward pass per dimension: an oracle for small ones.

    Args:
        score: score(x) -> [B, ...], each sample on its own.
        x: samples [B, ...].
    """
    x = x if x.requires_grad else x.detach().requires_grad_()
    with torch.enable_grad():
        s = score(x)
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
    x = x if x.requires_grad else x.detach().requires_grad_()
    with torch.enable_grad():
        s = score(x)
        along = (s * probe).flatten(1).sum(1)
        (row,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    curvature = (row * probe).flatten(1).sum(1)
    norm = s.flatten(1).square().sum(1) if reduced else along.square()
    return curvature + 0.5 * norm


def rademacher(keys: Tensor, like: Tensor) -> Tensor:
    """Signs, from the bits of the normals of ``keys`` [B, 2]; shape and dtype of ``like``."""
    return torch.where(standard_normal(keys, like) < 0, -1.0, 1.0).to(like)
