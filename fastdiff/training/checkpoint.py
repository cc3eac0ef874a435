"""Training checkpoints: one safetensors file that holds all a run needs to continue exactly."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import contextmanager
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

FORMAT = "fastdiff-training-3"
LONGER = (
    ": the learning rate falls to zero over all steps, so its past would have been another one; "
    "for a longer or shorter run begin a new one"
)


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
    header["crc32"] = _checksum(header, tensors)
    # Replaced in one move: a run killed while it writes keeps its previous checkpoint.
    partial = Path(f"{path}.partial")
    save_file(tensors, str(partial), metadata=header)
    os.replace(partial, path)


def _checksum(header: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Of all that is written: safetensors notices a file cut short, but no changed numbers."""
    value = 0
    for name in ("config", "space", "step"):
        value = zlib.crc32(header[name].encode(), value)
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy(), value)
    return f"{value:08x}"


@dataclass(frozen=True)
class _File:
    """What a checkpoint holds, read and looked over."""

    config: dict
    space: dict
    step: int
    parts: dict[str, dict[str, Tensor]]


@contextmanager
def _damage(path: str | Path):
    """Turn whatever a file that is not as it was written makes fail into one error naming it."""
    try:
        yield
    except SafetensorError as error:
        what = str(error)
    except KeyError as error:
        what = f"no {error} in it"
    except (ValueError, TypeError, RuntimeError) as error:  # JSON, tensors of other shapes
        what = " ".join(str(error).split())
    else:
        return
    raise ValueError(
        f"path: expected a checkpoint, got a damaged or foreign file {str(path)!r}: {what[:300]}"
    ) from None


def _read(path: str | Path) -> _File:
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: expected a checkpoint, got {str(path)!r}: no such file")
    with _damage(path), safe_open(str(path), framework="pt", device="cpu") as file:
        header = file.metadata() or {}
        format = header.get("format")
        if format == FORMAT:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            if header["crc32"] != _checksum(header, tensors):
                raise ValueError("its numbers are not those that were written (checksum)")
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
            for key, value in tensors.items():
                part, _, name = key.partition("/")
                if part not in parts or not name:
                    raise ValueError(f"a tensor {key!r} in it")
                parts[part][name] = value
            read = _File(*(json.loads(header[k]) for k in ("config", "space", "step")), parts)
    if format != FORMAT:
        raise ValueError(
            f"path: expected a checkpoint of format {FORMAT!r}, got {format!r} in {str(path)!r}"
        )
    if bad := not_finite(tensors):
        raise ValueError(f"path: expected finite weights, got others in {bad!r} of {str(path)!r}")
    return read


def load_checkpoint(path: str | Path, state: TrainState, config: TrainConfig) -> None:
    """Restore ``state`` in place from :func:`save_checkpoint`'s file.

    A run continued on the same device gives bitwise the weights of one never interrupted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, no checkpoint, or one of a run with another config.
    """
    file = _read(path)
    with _damage(path):
        saved = TrainConfig.from_dict(file.config).to_dict()
        space = Space(**file.space)
    if space != state.model.space:
        raise ValueError(
            f"data: expected {space}, as the run in {str(path)!r} was begun with, "
            f"got {state.model.space}"
        )
    for name, given in config.to_dict().items():
        if saved[name] != given:
            why = LONGER if name == "steps" else ""
            raise ValueError(
                f"config: expected the checkpoint's {name}={saved[name]!r}, "
                f"got {name}={given!r}{why}"
            )
    with _damage(path):
        state.model.load_state_dict(file.parts["model"])
        state.ema.load_state_dict(file.parts["ema"])
        _restore_optimizer(state.optimizer, file.parts["optimizer"], begun=file.step > 0)
    state.step = file.step


def load_model(
    path: str | Path, device: torch.device | str = "cpu"
) -> tuple[Member, TrainConfig, int]:
    """The averaged model of a checkpoint in eval mode, the run's settings and its step.

    Raises:
        FileNotFoundError, ValueError: see ``load_checkpoint``.
    """
    file = _read(path)
    with _damage(path):
        config = TrainConfig.from_dict(file.config)
        model = find(config.family)(config.model, Space(**file.space))
        weights = {
            name.removeprefix("module."): value
            for name, value in file.parts["ema"].items()
            if name != "n_averaged"
        }
        model.load_state_dict(weights)
    return model.to(device).eval(), config, file.step
