"""Training checkpoints: one safetensors file that holds all a run needs to continue exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from fastdiff import files
from fastdiff.arguments import device as known_device
from fastdiff.arguments import instance
from fastdiff.models import Member, tensor_file
from fastdiff.models.run import EXPECTED, FORMAT, read_run
from fastdiff.models.tensor_file import not_finite

from .config import TrainConfig

LONGER = (
    ": the learning rate falls to zero over all steps, so its past would have been another one; "
    "for a longer or shorter run begin a new one"
)


@dataclass
class TrainState:
    """What changes from step to step. Each step seeds its own random numbers (``batch_seed``), so
    no generator is part of it.

    Attributes:
        model: with the weights of the last step.
        ema: with their average.
        optimizer: AdamW over the model's parameters.
        step: steps made.
        recent: of each step since the last row of the log, what ``train_step`` returned.
    """

    model: Member
    ema: AveragedModel
    optimizer: Optimizer
    step: int = 0
    recent: list[Tensor] = field(default_factory=list)

    @property
    def averaged(self) -> Member:
        """The model with the average of the weights."""
        return cast(Member, self.ema.module)


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], begun: bool) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        entries.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(trained):
        names = {"step", "exp_avg", "exp_avg_sq"} if begun and parameter.requires_grad else set()
        entry = entries.get(i, {})
        if not names <= entry.keys() or entry.get("exp_avg", parameter).shape != parameter.shape:
            raise ValueError(f"no or wrong optimizer state of parameter {i}")
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def tensors_of(state: TrainState) -> dict[str, Tensor]:
    """All that a checkpoint holds of a state, by "part/name"."""
    parts = {
        "model": state.model.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer": _optimizer_tensors(state.optimizer),
        "recent": {"losses": torch.stack(state.recent)} if state.recent else {},
    }
    return {
        f"{part}/{name}": value.detach()
        for part, values in parts.items()
        for name, value in values.items()
    }


def save_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Write ``state`` and ``config`` to the file ``path``, whole or not at all, with a checksum.

    Raises:
        ValueError: if a number of the state is not finite; a file that is there stays as it is.
        OSError: if the file cannot be written; likewise.
    """
    instance("state", state, TrainState, "a TrainState, as new_state makes it")
    instance("config", config, TrainConfig, "a TrainConfig")
    tensors = tensors_of(state)
    if bad := not_finite(tensors):
        raise ValueError(f"state: expected finite numbers, got others in {bad!r}; not saved")
    header = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "space": json.dumps(asdict(state.model.space)),
        "step": str(state.step),
    }
    tensor_file.write(path, tensors, header)


def load_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Restore ``state`` in place from :func:`save_checkpoint`'s file.

    A run continued on the same device gives bitwise the weights of one never interrupted.

    Args:
        path: the file, or the folder of a run.
        state: of a new run with these settings and data.
        config: its settings.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no checkpoint, or one of a run with another config.
    """
    instance("state", state, TrainState, "a TrainState, as new_state makes it")
    instance("config", config, TrainConfig, "a TrainConfig")
    run = read_run(path)
    with files.contents(run.path, EXPECTED):
        saved = TrainConfig.from_dict(run.config).to_dict()
    if run.space != state.model.space:
        raise ValueError(
            f"data: expected {run.space}, as the run in {str(run.path)!r} was begun with, "
            f"got {state.model.space}"
        )
    for name, given in config.to_dict().items():
        if saved[name] != given:
            why = LONGER if name == "steps" else ""
            raise ValueError(
                f"config: expected the checkpoint's {name}={saved[name]!r}, "
                f"got {name}={given!r}{why}"
            )
    with files.contents(run.path, EXPECTED):
        state.model.load_state_dict(run.parts["model"])
        state.ema.load_state_dict(run.parts["ema"])
        _restore_optimizer(state.optimizer, run.parts["optimizer"], begun=run.step > 0)
        device = next(state.model.parameters()).device
        state.recent = [losses.to(device) for losses in _losses(run.parts["recent"])]
    state.step = run.step


def _losses(tensors: dict[str, Tensor]) -> list[Tensor]:
    losses = tensors.get("losses", torch.zeros(0, 2))
    if losses.ndim != 2 or losses.shape[1] != 2:
        raise ValueError(f"losses of shape {list(losses.shape)}")
    return list(losses)


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[Member, TrainConfig, int]:
    """What ``fastdiff train`` made, ready for use.

    Args:
        path: the folder of a run, or its ``checkpoint.safetensors``.
        device: where the model goes.

    Returns:
        the model with its averaged weights in eval mode, the run's settings, and its step.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is damaged, or of another format.
    """
    device = known_device("device", device)
    run = read_run(path)
    with files.contents(run.path, EXPECTED):
        config = TrainConfig.from_dict(run.config)
    return run.model().to(device), config, run.step
