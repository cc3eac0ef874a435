"""What ``fastdiff train`` leaves in a run's folder: a checkpoint, and the trained model in it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import arguments, files
from . import tensor_file
from .catalogue import find
from .family import Member, Space, settings_from

CHECKPOINT = "checkpoint.safetensors"
FORMAT = "fastdiff-training-4"
# Of the format before, which has a checksum of another kind and no losses that wait for the log.
BEFORE = "fastdiff-training-3"
FORMATS = {FORMAT: True, BEFORE: False}
PARTS = ("model", "ema", "optimizer", "recent")
EXPECTED = "a checkpoint"


@dataclass(frozen=True)
class Run:
    """What a checkpoint holds.

    Attributes:
        path: the file.
        config: the settings, as ``fastdiff.training.TrainConfig.to_dict`` gives them.
        space: the data.
        step: steps made.
        parts: tensors by part (model, ema, optimizer, recent) and name.
    """

    path: Path
    config: dict
    space: Space
    step: int
    parts: dict[str, dict[str, Tensor]]

    def model(self) -> Member:
        """The model with its averaged weights, in eval mode.

        Raises:
            ValueError: the weights do not fit the settings.
        """
        weights = {
            name.removeprefix("module."): value
            for name, value in self.parts["ema"].items()
            if name != "n_averaged"
        }
        with files.contents(self.path, EXPECTED):
            member = find(self.config["family"])
            model = member(settings_from(member.Config, self.config["model"]), self.space)
            model.load_state_dict(weights)
        return model.eval()


def checkpoint_of(path: str | Path) -> Path:
    """The checkpoint itself where ``path`` is the folder of a run."""
    path = arguments.path("path", path)
    return path / CHECKPOINT if os.path.isdir(path) else path  # False where it cannot be looked at


def read_run(path: str | Path) -> Run:
    """Read a checkpoint.

    Args:
        path: the file, or the folder of a run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no checkpoint, or has numbers that are not finite.
    """
    path = checkpoint_of(path)
    return unpack(path, *tensor_file.read(path, EXPECTED, FORMATS))


def unpack(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Run:
    """The run in what has been read from a checkpoint; errors as of :func:`read_run`."""
    with files.contents(path, EXPECTED):
        if header["format"] == BEFORE and header["crc32"] != _checksum_before(header, tensors):
            raise ValueError("its numbers are not those that were written (checksum)")
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for key, value in tensors.items():
            part, _, name = key.partition("/")
            if part not in parts or not name:
                raise ValueError(f"a tensor {key!r} in it")
            parts[part][name] = value
        config, space, step = (json.loads(header[name]) for name in ("config", "space", "step"))
        run = Run(path, config, Space(**space), step, parts)
    if bad := tensor_file.not_finite(tensors):
        raise ValueError(f"path: expected finite weights, got others in {bad!r} of {str(path)!r}")
    return run


def _checksum_before(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    value = 0
    for name in ("config", "space", "step"):
        value = zlib.crc32(header[name].encode(), value)
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"
