"""The tensors that a batch works in: allocated once, written in place, never moved."""

from types import SimpleNamespace

import numpy as np
import torch

from ..ops.operands import BOUND
from ..tables.rows import END


class Buffers(SimpleNamespace):
    """What a step reads and writes, as ``fastdiff.ops.step_`` names it; None: not there.

    ``weights`` and ``second_weights`` may have one row for all rows, or one for all samples.
    """

    def __init__(self, **operands: torch.Tensor | None):
        super().__init__(**dict.fromkeys(BOUND) | operands)

    def named(self) -> dict[str, torch.Tensor | None]:
        """The bound operands of ``step_``: the weights as views of full size."""
        named = dict(vars(self))
        for name in ("weights", "second_weights"):
            if named[name] is not None:
                named[name] = named[name].expand(len(self.rows), len(self.x), -1)
        return named

    def _tensors(self) -> list[torch.Tensor]:
        return [value for value in vars(self).values() if value is not None]

    def addresses(self) -> list[int]:
        """Where the tensors lie now."""
        return [value.data_ptr() for value in self._tensors()]

    def unshare(self) -> None:
        """Move what came from another process by shared memory into memory of our own."""
        for value in self._tensors():
            if value.is_shared():
                value.data = value.clone()

    def structure(self) -> tuple:
        """What has to be equal for the contents of one to take the place of another's."""
        return tuple(
            None if value is None else (value.dtype, value.device, tuple(value.shape))
            for value in vars(self).values()
        )

    def take(self, other: "Buffers") -> None:
        """Copy the contents of buffers of the same structure."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            if mine is not None:
                mine.copy_(theirs)


def capacity(count: int, device: torch.device, weights: np.ndarray | None) -> int:
    """The number of rows to allocate, where ``count`` are needed.

    On a GPU 1024, or the next power of two: tables of other lengths can then take their place
    without a new capture. Fewer, from 64 on, where each row has many weights of its own.
    """
    if device.type == "cpu":
        return count
    many = weights is not None and len(weights) > 1 and weights[0].size > 1024
    return max(64 if many else 1024, 1 << (count - 1).bit_length())


def packed_rows(rows: np.ndarray, like: torch.Tensor, capacity: int) -> torch.Tensor:
    """[capacity, 40] the rows in the state's dtype, on its device; the rest are END rows."""
    if capacity > len(rows):
        rows = np.concatenate([rows, np.tile(END.pack(), (capacity - len(rows), 1))])
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def mixing_weights(
    weights: np.ndarray | None, rows: torch.Tensor, dtype: torch.dtype | None = None
) -> torch.Tensor | None:
    """[rows or 1, B or 1, G] guidance weights, padded to the capacity of ``rows``; of their dtype,
    or the one given."""
    if weights is None:
        return None
    if len(weights) > 1:
        padding = np.repeat(weights[-1:], len(rows) - len(weights), axis=0)
        weights = np.concatenate([weights, padding])
    dtype = dtype or rows.dtype
    return torch.tensor(np.ascontiguousarray(weights), dtype=dtype, device=rows.device)
