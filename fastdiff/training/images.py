"""Images with labels in memory, and the fixed split into those for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastdiff.arguments import describe, tensor, whole
from fastdiff.models import Space

MOST_PIXELS = 2**12  # of a border
SPLIT_SEED = 20260101
SPLIT = (
    "stratified: of the rows of each class, in the order of "
    f"numpy.random.RandomState({SPLIT_SEED}).permutation, the first are for testing"
)


@dataclass(frozen=True)
class Images:
    """Images and labels.

    Attributes:
        levels: [N, C, H, W] uint8 grey levels, 0 to depth - 1.
        labels: [N] int64.
        depth: number of grey levels.
        classes: number of labels.
    """

    levels: Tensor
    labels: Tensor
    depth: int = 256
    classes: int = 10

    def __post_init__(self) -> None:
        levels = tensor("levels", self.levels, dims=4, floating=False)
        labels = tensor("labels", self.labels, shape=levels.shape[:1], floating=False)
        if levels.dim() != 4 or levels.dtype != torch.uint8:
            raise ValueError(f"levels: expected uint8 [N, C, H, W], got {describe(levels)}")
        if labels.dtype != torch.int64:
            raise ValueError(f"labels: expected int64 [N], got {describe(labels)}")
        whole("depth", self.depth, least=2, most=256)
        whole("classes", self.classes, least=1)

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, rows=slice(None)) -> Tensor:
        """float32 values in [-1, 1] of the rows."""
        return self._of(rows, self.levels).float() * (2 / (self.depth - 1)) - 1

    @property
    def images(self) -> Tensor:
        """All of them, [N, C, H, W] float32 in [-1, 1]."""
        return self.values()

    @property
    def space(self) -> Space:
        channels, height, width = self.levels.shape[1:]
        return Space((channels, height, width), self.depth, self.classes)

    def __getitem__(self, rows) -> Images:
        return replace(self, levels=self._of(rows, self.levels), labels=self._of(rows, self.labels))

    def padded(self, pixels: int) -> Images:
        """With a black border."""
        pixels = whole("pixels", pixels, least=0, most=MOST_PIXELS)
        return replace(self, levels=F.pad(self.levels, (pixels,) * 4)) if pixels else self

    def _of(self, rows, values: Tensor) -> Tensor:
        try:
            return values[rows]
        except (IndexError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            got = describe(rows)
            raise IndexError(f"rows: expected some of {len(self)} images, got {got}") from error


def split_indices(labels: np.ndarray, test: int) -> tuple[np.ndarray, np.ndarray]:
    """The fixed stratified split.

    Args:
        labels: class of each image, shape [N], integers.
        test: how many are for testing; each class gives its share, rounded down, and those with the
            largest remainders one more.

    Returns:
        sorted indices of the train and of the test images; disjoint, together all of them.
    """
    # default_rng's streams are guaranteed stable only within a numpy feature release, so the
    # legacy generator, whose streams are frozen, draws the split.
    rng = np.random.RandomState(SPLIT_SEED)
    classes, counts = np.unique(labels, return_counts=True)
    share = counts * test / len(labels)
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: test - take.sum()]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:count]
        for label, count in zip(classes, take, strict=True)
    ]
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
