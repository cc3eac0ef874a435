"""Training checkpoints: one safetensors file that holds all a run needs to continue exactly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from .config import TrainConfig

FORMAT = "fastdiff-training-1"


@dataclass
class TrainState:
    """What changes from step to step."""

    model: nn.Module
    ema: AveragedModel
    optimizer: Optimizer
    generator: torch.Generator
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


def _rng_tensors(generator: torch.Generator) -> dict[str, Tensor]:
    # Dropout draws from the global generators, all else from the run's own.
    states = {"own": generator.get_state(), "cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_rng(generator: torch.Generator, states: dict[str, Tensor]) -> None:
    generator.set_state(states["own"])
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def save_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Write ``state`` and ``config`` to ``path``, atomically."""
    parts = {
        "model": state.model.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer": _optimizer_tensors(state.optimizer),
        "rng": _rng_tensors(state.generator),
    }
    tensors = {
        f"{part}/{name}": value.detach().cpu().contiguous()
        for part, values in parts.items()
        for name, value in values.items()
    }
    header = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "step": str(state.step),
    }
    # Replaced in one move: a run killed while it writes keeps its previous checkpoint.
    partial = Path(f"{path}.partial")
    save_file(tensors, str(partial), metadata=header)
    os.replace(partial, path)


def load_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Restore ``state`` in place from :func:`save_checkpoint`'s file.

    A run continued on the same device gives bitwise the weights of one never interrupted.

    Raises:
        ValueError: if the file is no checkpoint, or one of a run with another config.
    """
    with safe_open(str(path), framework="pt", device="cpu") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if header.get("format") != FORMAT:
        raise ValueError(
            f"path: expected a checkpoint of format {FORMAT!r}, got {header.get('format')!r}"
        )
    saved, given = json.loads(header["config"]), json.loads(json.dumps(config.to_dict()))
    for name in given:
        if saved[name] != given[name]:
            raise ValueError(
                f"config: expected the checkpoint's {name}={saved[name]!r}, "
                f"got {name}={given[name]!r}"
            )
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts.setdefault(part, {})[name] = value
    state.model.load_state_dict(parts["model"])
    state.ema.load_state_dict(parts["ema"])
    _restore_optimizer(state.optimizer, parts.get("optimizer", {}))
    _restore_rng(state.generator, parts["rng"])
    state.step = int(header["step"])
