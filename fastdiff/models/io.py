"""Model files: a safetensors file of weights whose metadata holds the architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from .unet import UNet, UNetConfig

FORMAT = "fastdiff-unet-1"


def _safetensors() -> ModuleType:
    # An optional dependency: the network itself must be importable without it.
    try:
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fastdiff.models: expected the package safetensors, which reads and writes model "
            f'files, got: {error}; run: pip install "fastdiff[cli]"'
        ) from error
    return safetensors


def save(
    path: str | Path,
    config: UNetConfig,
    state: Mapping[str, Tensor],
    meta: Mapping[str, object] | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write a model file.

    Args:
        path: the file to write.
        config: the architecture.
        state: a ``UNet(config).state_dict()``.
        meta: anything JSON can hold, returned again by :func:`load`.
        dtype: storage type of the weights.

    Raises:
        ModuleNotFoundError: if safetensors is not installed.
    """
    tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in state.items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(asdict(config)),
        "meta": json.dumps(dict(meta or {})),
    }
    _safetensors().torch.save_file(tensors, str(path), metadata=header)


def load(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[UNet, dict]:
    """Read a model file written by :func:`save`.

    Args:
        path: the file.
        device: where the model goes.
        dtype: type of the parameters in memory, whatever the file stores.

    Returns:
        the model in eval mode, and the ``meta`` it was saved with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a fastdiff model.
        ModuleNotFoundError: if safetensors is not installed.
    """
    safetensors, path = _safetensors(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a model file, got {str(path)!r}: no such file")
    try:
        with safetensors.safe_open(str(path), framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"path: expected a safetensors file, got {str(path)!r}: {error}") from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"path: expected a model file of format {FORMAT!r}, "
            f"got {header.get('format')!r} in {str(path)!r}"
        )
    model = UNet(UNetConfig(**json.loads(header["config"])))
    model.load_state_dict(tensors)
    return model.to(device=device, dtype=dtype).eval(), json.loads(header["meta"])


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
        model = load(path, device, dtype)[0]
    model.prediction = "v"  # fastdiff.sample refuses tables of another prediction
    return model
