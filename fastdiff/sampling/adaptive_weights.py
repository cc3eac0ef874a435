"""Guidance weights that depend on what the model says: made before each row, on the device."""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..guidance import Guidance
from ..guidance.sums import adjusted
from ..ops.moments import moments_
from ..ops.operands import check_call
from ..ops.select import wide
from . import buffers as buffers_
from .buffers import Buffers


def unfilled(
    guidance: Guidance, x: Tensor, secondary: np.ndarray | None
) -> tuple[Tensor | None, np.ndarray, np.ndarray | None]:
    """What the buffers hold where the weights of a row are made in the loop.

    Args:
        guidance: one whose weights depend on model outputs.
        x: [B, ...] the state of the samples.
        secondary: [R or 1, B or 1, outputs] the weights of the secondary mix, or None.

    Returns:
        The guidance's own state or None; zeros [1, B, outputs], with one output more where there is
        a state, which is mixed like one; ``secondary`` of that shape, without the state.
    """
    state = guidance.init_state(x)
    weights = np.zeros((1, len(x) or 1, guidance.outputs + (state is not None)))
    if secondary is not None:
        padding = ((0, 0), (0, 0), (0, weights.shape[2] - guidance.outputs))
        secondary = np.broadcast_to(np.pad(secondary[:1, :1], padding), weights.shape)
    return state, weights, secondary


class AdaptiveWeights:
    """Fills the weights of ``buffers``, one for all rows, with those of the coming one.

    Args:
        guidance: one whose weights depend on model outputs; see ``Guidance.adjust_weights``.
        weights: [R or 1, B or 1, 2] what it makes them of, for every row.
        buffers: of the sampler's state.
        state: None, or the guidance's own, which is mixed like a third output.
    """

    def __init__(
        self,
        guidance: Guidance,
        weights: np.ndarray,
        buffers: Buffers,
        state: Tensor | None = None,
    ):
        self.guidance, self.buffers, self.state = guidance, buffers, state
        batch, device = len(buffers.x), buffers.x.device
        self.made = cast(Tensor, buffers.weights)
        self.base = cast(Tensor, buffers_.mixing_weights(weights, buffers.rows, wide(device)))
        self._samples = torch.arange(batch, device=device)
        self._sums = torch.empty(batch, 5, dtype=wide(device), device=device)
        self._shape = batch, math.prod(buffers.x.shape[1:])

    def follow(self, out):
        """Make the weights of the row on which each sample stands, for these outputs; returns what
        the row mixes by them."""
        parts = list(out) if isinstance(out, (list, tuple)) else list(out.chunk(2))
        if not self._fits(parts):
            return self._unfit(out)
        batch, count = self._shape
        if len(self.base) > 1:
            base = self.base[self.buffers.row, self._samples if self.base.shape[1] > 1 else 0]
        else:
            base = self.base[0].expand(batch, -1)
        summed = parts
        if self.state is not None:
            self.guidance.update_state(self.state, parts, base)
            out = [*parts, self.state.to(parts[0].dtype)]
            summed = out[:0:-1]  # the state and the conditional output
        moments_(self._sums, *(part.reshape(batch, count) for part in summed))
        self.made[0].copy_(adjusted(self.guidance, base, self._sums, count))
        return out

    def _unfit(self, out):
        """Nothing to do, or outputs that the row refuses, which says why."""
        if self.state is None:
            return out
        outputs = list(out) if isinstance(out, (list, tuple)) else [out]
        check_call(self.buffers.x, 2, outputs, {})
        return out if len(outputs) == 1 else [*outputs, outputs[0]]  # of an empty batch

    def restart(self, sample: int) -> None:
        """A new trajectory begins in the place of one sample."""
        if self.state is not None:
            self.state[sample] = 0

    def _fits(self, parts) -> bool:
        like, first = self.buffers.x, parts[0]
        return len(like) > 0 and len(parts) == 2 and all(
            part.shape == like.shape and part.device == like.device
            and part.dtype == first.dtype and part.is_floating_point()
            for part in parts
        )  # fmt: skip

    def structure(self) -> tuple:
        """States of the same structure can take each other's place in a captured graph."""
        return self.guidance.cache_key(), tuple(self.base.shape)

    def take(self, other: "AdaptiveWeights") -> None:
        """Go on from another's weights and state."""
        self.base.copy_(other.base)
        if self.state is not None and other.state is not None:
            self.state.copy_(other.state)
