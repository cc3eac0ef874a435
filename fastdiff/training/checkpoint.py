"""Training checkpoints: one safetensors file that holds all a run needs to continue exactly."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from fastdiff.models import Member, Space, find

from .config import TrainConfig

FORMAT = "fastdiff-training-2"


@dataclass
class TrainState:
    """What changes from step to step. Each step seeds its own random numbers (``batch_seed``), so
    no generator is part of it."""

    model: Member
    ema: AveragedModel
    optimizer: Optimizer
    step: int = 0


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        entries.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    """All that a checkpoint holds of a state, by "part/name"."""
    parts = {
        "model": state.model.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer": _optimizer_tensors(state.optimizer),
    }
    return {
        f"{part}/{name}": value.detach()
        for part, values in parts.items()
        for name, value in values.items()
    }


def not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The name of the first tensor with a number that is not finite."""
    floats = {name: v for name, v in tensors.items() if v.is_floating_point()}
    # One look at the device for all of them.
    fine = torch.stack([v.isfinite().all() for v in floats.values()]).tolist() if floats else []
    return next((name for name, ok in zip(floats, fine, strict=True) if not ok), None)


def save_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Write ``state`` and ``config`` to ``path``, atomically.

    Raises:
        ValueError: if a number of the state is not finite; a file that is there stays as it is.
    """
    tensors = tensors_of(state)
    if bad := not_finite(tensors):
        raise ValueError(f"state: expected finite numbers, got others in {bad!r}; not saved")
    tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "space": json.dumps(asdict(state.model.space)),
        "step": str(state.step),
    }
    # Replaced in one move: a run killed while it writes keeps its previous checkpoint.
    partial = Path(f"{path}.partial")
    save_file(tensors, str(partial), metadata=header)
    os.replace(partial, path)


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, dict[str, Tensor]]]:
    """Header and tensors by part."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: expected a checkpoint, got {str(path)!r}: no such file")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(
                    f"path: expected a checkpoint of format {FORMAT!r}, "
                    f"got {header.get('format')!r} in {str(path)!r}"
                )
            parts: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():
                part, name = key.split("/", 1)
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except SafetensorError as error:
        raise ValueError(
            f"path: expected a checkpoint, got a damaged or foreign file {str(path)!r}: {error}"
        ) from None
    for part, tensors in parts.items():
        if bad := not_finite(tensors):
            raise ValueError(
                f"path: expected finite weights, got others in '{part}/{bad}' of {str(path)!r}"
            )
    return header, parts


def load_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Restore ``state`` in place from :func:`save_checkpoint`'s file.

    A run continued on the same device gives bitwise the weights of one never interrupted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no checkpoint, or one of a run with another config.
    """
    header, parts = _read(path)
    saved, given = json.loads(header["config"]), json.loads(json.dumps(config.to_dict()))
    for name in given:
        if saved[name] != given[name]:
            raise ValueError(
                f"config: expected the checkpoint's {name}={saved[name]!r}, "
                f"got {name}={given[name]!r}"
            )
    state.model.load_state_dict(parts["model"])
    state.ema.load_state_dict(parts["ema"])
    _restore_optimizer(state.optimizer, parts.get("optimizer", {}))
    state.step = int(header["step"])


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[Member, TrainConfig, int]:
    """The averaged model of a checkpoint in eval mode, the run's settings and its step.

    Raises:
        FileNotFoundError, ValueError: see ``load_checkpoint``.
    """
    header, parts = _read(path)
    config = TrainConfig.from_dict(json.loads(header["config"]))
    model = find(config.family)(config.model, Space(**json.loads(header["space"])))
    weights = {
        name.removeprefix("module."): value
        for name, value in parts["ema"].items()
        if name != "n_averaged"
    }
    model.load_state_dict(weights)
    return model.to(device).eval(), config, int(header["step"])
