"""Guidance weights that depend on what the model says: made before each row, on the device."""

import math

import numpy as np
import torch

from ..guidance.sums import adapted
from ..ops.moments import moments_
from ..ops.select import wide
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
        batch, device = len(buffers.x), buffers.x.device
        self.base = buffers_.mixing_weights(weights, buffers.rows, wide(device))
        self._samples = torch.arange(batch, device=device)
        self._sums = torch.empty(batch, 5, dtype=wide(device), device=device)
        self._shape = batch, math.prod(buffers.x.shape[1:])

    def follow(self, out) -> None:
        """Make the weights of the row on which each sample stands, for these outputs."""
        parts = out if isinstance(out, (list, tuple)) else out.chunk(2)
        if not self._fits(parts):
            return  # nothing to do, or the row refuses them and says why
        batch, count = self._shape
        moments_(self._sums, *(part.reshape(batch, count) for part in parts))
        if len(self.base) > 1:
            base = self.base[self.buffers.row, self._samples if self.base.shape[1] > 1 else 0]
        else:
            base = self.base[0].expand(batch, -1)
        self.buffers.weights[0].copy_(adapted(self.guidance, base, self._sums, count))

    def _fits(self, parts) -> bool:
        like, first = self.buffers.x, parts[0]
        return len(like) > 0 and len(parts) == 2 and all(
            part.shape == like.shape and part.device == like.device
            and part.dtype == first.dtype and part.is_floating_point()
            for part in parts
        )  # fmt: skip

    def structure(self) -> tuple:
        """States of the same structure can take each other's place in a captured graph."""
        return self.guidance.kind(), tuple(self.base.shape)

    def take(self, other: "AdaptiveWeights") -> None:
        """Go on from another's weights."""
        self.base.copy_(other.base)
