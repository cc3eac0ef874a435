"""A user's own images, in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from .. import arguments
from .images import Images, split_indices

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
TEST_SHARE = 0.1


def load_folder(path: str | Path) -> tuple[Images, Images]:
    """Train and test images (a tenth of each class, at least one image) of a folder.

    Each subfolder is a class; images directly in the folder are all of one. They have to be of one
    size; they are read as grey if all of them are grey, else as RGB, and kept in memory as bytes:
    16 bits are rounded to 8, transparent pixels shown on black, orientations in EXIF followed.

    Raises:
        ValueError: no such folder, no images in it, one that cannot be read, or different sizes.
    """
    path = arguments.path("data", path)
    if not os.path.isdir(path):
        raise ValueError(
            "data: expected digits8, mnist5k or a folder of images, "
            f"got {str(path)!r}: no such folder"
        )
    names = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    groups = [_images_in(folder) for folder in names]
    if any(groups):
        groups = [group for group in groups if group]
        if _images_in(path):
            raise ValueError(
                f"data: expected images in {str(path)!r} or in its subfolders (classes), got both"
            )
    else:
        groups = [_images_in(path)]
    files = [file for group in groups for file in group]
    if len(files) < 2:
        raise ValueError(
            f"data: expected at least 2 images ({', '.join(SUFFIXES)}) in {str(path)!r} or its "
            f"subfolders, got {len(files)}"
        )
    labels = np.concatenate([np.full(len(g), c, dtype=np.int64) for c, g in enumerate(groups)])
    pixels = _stack(files)
    everything = Images(pixels, torch.from_numpy(labels), 256, len(groups))
    held_out = max(1, round(TEST_SHARE * len(files)))
    train, test = split_indices(labels, held_out)
    return everything[train], everything[test]


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)


def _stack(files: list[Path]) -> torch.Tensor:
    """[N, C, H, W] uint8, C = 1 if all images are grey."""
    arrays = [_read(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            (h, w), (first_h, first_w) = array.shape[:2], arrays[0].shape[:2]
            raise ValueError(
                f"data: expected images of one size, got {first_w}x{first_h} ({files[0].name}) and "
                f"{w}x{h} ({file.name}); resize them first"
            )
    if all(_is_grey(array) for array in arrays):
        arrays = [array[..., :1] for array in arrays]
    return torch.from_numpy(np.stack(arrays)).movedim(-1, 1).contiguous()


def _is_grey(array: np.ndarray) -> bool:
    return bool((array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all())


def _read(file: Path) -> np.ndarray:
    """[H, W, 3] uint8, turned as the camera says, transparent pixels on black."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                return np.repeat(_deep(file, image)[..., None], 3, axis=2)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"data: expected an image, got {str(file)!r}: {error}") from error


def _deep(file: Path, image) -> np.ndarray:
    """[H, W] uint8 of a grey image of 16 bits: PIL's own conversion cuts off what is above 255."""
    levels = np.asarray(image)
    # 16 bits read as 32 (PNG before Pillow 10, PGM) differ from 32 only by what they hold.
    if image.mode == "F" or levels.min(initial=0) < 0 or levels.max(initial=0) > 65535:
        raise ValueError(f"expected 8 or 16 bits a channel, got mode {image.mode!r}")
    return np.round(levels.astype(np.float64) / 257).astype(np.uint8)
