"""Named tensors and a few strings in one safetensors file, with a checksum of all its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .. import arguments, files

_BLANK = b'"checksum":"' + b"0" * files.DIGITS  # a string in the header has no quotes unescaped


def write(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        tensors: what it holds; copied to the CPU.
        header: strings; ``format`` says what kind of file it is.

    Raises:
        OSError: the file cannot be written; the one that was there stays as it is.
        ModuleNotFoundError: safetensors is not installed.
    """
    path = arguments.path("path", path)
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {**header, "checksum": "0" * files.DIGITS}
    data = bytearray(_safetensors().save(kept, metadata))
    files.seal(data, data.index(_BLANK) + len(_BLANK) - files.DIGITS)
    files.write(path, data)


def read(
    path: str | Path, expected: str, formats: Mapping[Any, bool]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a file.

    Args:
        path: the file.
        expected: what it should be, such as "a model file"; for errors.
        formats: those accepted; True: files of this format have a checksum, False: they may.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another format.
        ModuleNotFoundError: safetensors is not installed.
    """
    safetensors, data = _safetensors(), files.read(path, expected)
    with files.contents(path, expected):
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end]).get("__metadata__", {})
        format = header.get("format")
        place = data.find(_BLANK[: -files.DIGITS], 0, end)
        if place >= 0:
            files.check(data, place + len(_BLANK) - files.DIGITS)
        elif formats.get(format):
            raise ValueError("no checksum in it")
        tensors = safetensors.load(data) if format in formats else {}
    if format not in formats:
        raise ValueError(
            f"path: expected {expected} of format {next(iter(formats))!r}, "
            f"got {format!r} in {str(path)!r}"
        )
    return tensors, header


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a number that is not finite."""
    floats = {name: v for name, v in tensors.items() if v.is_floating_point()}
    # One look at the device for all of them.
    fine = torch.stack([v.isfinite().all() for v in floats.values()]).tolist() if floats else []
    return next((name for name, ok in zip(floats, fine, strict=True) if not ok), None)


def _safetensors() -> ModuleType:
    # An optional dependency: the networks themselves must be importable without it.
    try:
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fastdiff.models: expected the package safetensors, which reads and writes model "
            f'files, got: {error}; run: pip install "fastdiff[cli]"'
        ) from error
    return safetensors.torch
