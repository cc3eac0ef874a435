"""One noise and one row of numbers for each sample of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import ops
from ..arguments import alike, describe, instance, on_device, tensor


def standard_normal(noise: Tensor, like: Tensor) -> Tensor:
    """The noise itself, or the one drawn from keys.

    Args:
        noise: standard normals of the shape of ``like``, or int64 keys [B, 2] (``fastdiff.noise``),
            of which draw 0 is taken.
        like: [B, ...], whose shape, dtype and device the noise has.
    """
    tensor("like", like, dims=1)
    expected = f"a tensor of {list(like.shape)} normals or int64 keys [{len(like)}, 2]"
    instance("noise", noise, Tensor, expected)
    tensor("noise", noise, floating=False)
    if noise.is_floating_point():
        return alike("noise", noise, "like", like)
    if noise.dtype != torch.int64 or noise.shape != (len(like), 2):
        raise ValueError(f"noise: expected {expected}, got {describe(noise)}")
    if not like.is_meta:
        ops.library.require_memory(noise=noise)
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
        noise: eps, see ``standard_normal``. Keys are drawn from in the pass, and again in that of
            the gradients.

    Returns:
        x_t and the target, both [B, ...]. Gradients flow to x0, levels and given normals.
    """
    tensor("x0", x0, dims=1)
    tensor("levels", levels, shape=(len(x0), 4))
    instance("noise", noise, Tensor, "a tensor of normals or of keys")
    tensor("noise", noise, floating=False)
    for name, value in {"levels": levels, "noise": noise}.items():
        if value.is_meta or x0.is_meta:
            on_device(name, value, "x0", x0)
    return ops.mix_noise(x0, levels, noise)
