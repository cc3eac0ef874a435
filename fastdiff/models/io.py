"""Model files: a safetensors file of weights whose metadata holds the architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from .. import files
from ..arguments import describe, floating, instance
from ..arguments import device as known_device
from . import run, tensor_file
from .family import Member
from .unet import UNet, UNetConfig

FORMAT = "fastdiff-unet-2"
FORMATS = {FORMAT: True, "fastdiff-unet-1": False}
EXPECTED = "a model file"


def save(
    path: str | Path,
    config: UNetConfig,
    state: Mapping[str, Tensor],
    meta: Mapping[str, object] | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write a model file, whole or not at all, with a checksum.

    Args:
        path: the file to write.
        config: the architecture.
        state: a ``UNet(config).state_dict()``.
        meta: anything JSON can hold, returned again by :func:`load`.
        dtype: storage type of the weights.

    Raises:
        OSError: the file cannot be written; the one that was there stays as it is.
        ModuleNotFoundError: if safetensors is not installed.
    """
    instance("config", config, UNetConfig, "a UNetConfig")
    instance("state", state, Mapping, "a dict of tensors")
    for name, value in state.items():
        instance("state", value, Tensor, f"a tensor {name!r}")
    meta = {} if meta is None else instance("meta", meta, Mapping, "a dict of what JSON can hold")
    floating("dtype", dtype)
    try:
        said = json.dumps(dict(meta))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        message = f"meta: expected a dict of what JSON can hold, got {describe(meta)}: {error}"
        raise kind(message) from None
    header = {"format": FORMAT, "config": json.dumps(asdict(config)), "meta": said}
    tensor_file.write(path, {name: value.to(dtype) for name, value in state.items()}, header)


def load(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[UNet | Member, dict]:
    """Read a model file written by :func:`save`, or what ``fastdiff train`` made.

    Args:
        path: the file; or the folder of a run, or its ``checkpoint.safetensors``: then the model is
            a member of the family (``fastdiff.models.FAMILY``) with its averaged weights.
        device: where the model goes.
        dtype: type of the parameters in memory, whatever the file stores.

    Returns:
        the model in eval mode, and the ``meta`` it was saved with; of a run a dict of its
        ``steps`` so far and its settings, ``training``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or not a fastdiff model.
        ModuleNotFoundError: if safetensors is not installed.
    """
    device, dtype = known_device("device", device), floating("dtype", dtype)
    path = run.checkpoint_of(path)
    tensors, header = tensor_file.read(path, EXPECTED, FORMATS | run.FORMATS)
    model: UNet | Member
    if header["format"] in run.FORMATS:
        found = run.unpack(path, tensors, header)
        model, meta = found.model(), {"steps": found.step, "training": found.config}
    else:
        with files.contents(path, EXPECTED):
            model = UNet(UNetConfig(**json.loads(header["config"])))
            meta = json.loads(header["meta"])
            model.load_state_dict(tensors)
    return model.to(device=device, dtype=dtype).eval(), meta


def digits(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> UNet:
    """The packaged model of handwritten digits, in eval mode.

    It predicts v (Salimans & Ho 2022, appendix D) on the VP cosine schedule
    alpha(t) = cos(pi t / 2), sigma(t) = sin(pi t / 2), for images [B, 1, 32, 32] in [-1, 1] and
    labels 0..9 (10 is the null class).

    Raises:
        FileNotFoundError: if the installation lacks the weights.
    """
    weights = resources.files("fastdiff.models").joinpath("weights", "digits.safetensors")
    with resources.as_file(weights) as path:
        if not path.is_file():
            raise FileNotFoundError(
                "digits: expected the packaged weights fastdiff/models/weights/digits.safetensors,"
                " got an installation without them; reinstall fastdiff, or train them with"
                " `fastdiff train digits`"
            )
        model = cast(UNet, load(path, device, dtype)[0])
    model.prediction = "v"  # type: ignore[assignment]  # by which sample refuses other tables
    return model
