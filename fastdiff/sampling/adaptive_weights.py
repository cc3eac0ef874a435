"""Guidance weights that depend on what the model says: made before each row, on the device."""

import math

import numpy as np
import torch

from .. import ops
from . import buffers as buffers_
from .buffers import Buffers


class AdaptiveWeights:
    """Fills the weights of ``buffers``, one for all rows, with those of the coming one.

    Args:
        guidance: one with ``adapts``; see ``CFG.adapted``.
        weights: [R or 1, B or 1, 2] what it makes them of, for every row.
        buffers: of the state.
    """

    def __init__(self, guidance, weights: np.ndarray, buffers: Buffers):
        self.guidance, self.buffers = guidance, buffers
        self.base = buffers_.mixing_weights(weights, buffers.rows, torch.float64)
        self._samples = torch.arange(len(buffers.x), device=buffers.x.device)
        self._count = math.prod(buffers.x.shape[1:])

    def follow(self, out) -> None:
        """Make the weights of the row on which each sample stands, for these outputs."""
        uncond, cond = out if isinstance(out, (list, tuple)) else out.chunk(2)
        sums = ops.moments(uncond, cond)
        each = self._samples if self.base.shape[1] > 1 else 0
        base = self.base[self.buffers.row, each] if len(self.base) > 1 else self.base[0]
        target = self.buffers.weights[0]
        if sums.device.type != "cpu":
            target.copy_(self.guidance.adapted(base, sums, self._count))
            return
        with np.errstate(all="ignore"):  # as tensors: inf and NaN are numbers
            made = self.guidance.adapted(base.numpy(), sums.numpy(), self._count)
        target.copy_(torch.from_numpy(made))

    def structure(self) -> tuple:
        """States of the same structure can take each other's place in a captured graph."""
        return self.guidance.kind(), tuple(self.base.shape)

    def take(self, other: "AdaptiveWeights") -> None:
        """Go on from another's weights."""
        self.base.copy_(other.base)
