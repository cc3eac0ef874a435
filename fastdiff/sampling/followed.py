"""What a loop looks at: the state, the model's input, which follows what is written to the state,
and the estimate of clean data."""

import numpy as np
import torch
from torch.compiler import is_dynamo_compiling

from ..tables.rows import in_scale_of
from .buffers import Buffers
from .standing import Standing


class Followed(Standing):
    """The part of ``SamplerState`` that hands these out.

    The row of a step writes them; what its caller writes to the state in between has to reach the
    model's input before the model is evaluated.
    """

    buffers: Buffers
    outputs: int
    row: torch.Tensor
    rows: torch.Tensor
    _version: int | None
    _read_at: int | None  # the steps that were left when the model's input was last asked for

    def replace(self, x: torch.Tensor) -> None:
        raise NotImplementedError

    @property
    def x(self) -> torch.Tensor:
        """[B, ...] the state; after the last step the samples. Assigning is ``replace``."""
        self._handed_out = self._may_be_written = True
        return self.buffers.x

    @x.setter
    def x(self, value: torch.Tensor) -> None:
        self.replace(value)

    @property
    def x0(self) -> torch.Tensor:
        """[B, ...] what the model, after guidance and clipping, said of clean data at the last
        step; zeros before the first one. In the state's dtype; every step writes it anew.

        Raises:
            RuntimeError: the state was made without ``keep_x0=True``.
        """
        if self.buffers.x0_out is None:
            raise RuntimeError("x0: expected a state made with keep_x0=True, got one without")
        return self.buffers.x0_out

    @property
    def model_input(self) -> torch.Tensor:
        """[G * B, ...] what the model is to be evaluated at: made of ``x`` as it is now."""
        self._read_at = self._left
        if self._handed_out and (self._may_be_written or self._is_written()):
            self._follow()
        made = self.buffers.model_input
        asked = self.outputs * len(self.buffers.x)
        return made if len(made) == asked else made[:asked]

    def _is_written(self) -> bool:
        """Whether torch wrote to the state since the model's input was made of it. (The kernels do
        not count as writes.)"""
        return not is_dynamo_compiling() and self.buffers.x._version != self._version

    @torch.no_grad()
    def _follow(self) -> None:
        """Make the model's input of the state as it is now, as the last row did."""
        x = self.buffers.x
        parts = list(self.buffers.model_input.split(len(x))) if len(x) else []
        if any(part.shape != x.shape for part in parts):
            raise RuntimeError(
                f"x: expected the tensor that was bound, {list(parts[0].shape)}, got one that was "
                f"changed in place into {list(x.shape)}"
            )
        traced = is_dynamo_compiling()
        scale = np.zeros(0) if traced else self.program.in_scale[self.row_index - 1]
        if not traced and (scale == scale[:1]).all():
            scaled = x if (scale == 1).all() else x * float(scale[0])
            for part in parts:
                part.copy_(scaled)
        else:  # rows of several tables, or samples that have finished: their input stays
            each = in_scale_of(self.rows[self.row - 1]).reshape(-1, *[1] * (x.dim() - 1))
            for part in parts:
                part.copy_(torch.where(each != 0, each * x, part))
        self._may_be_written = False
        self._version = None if traced else x._version
