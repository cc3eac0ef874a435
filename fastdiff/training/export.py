"""Export of a trained run of the digit model to a model file."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import cast

from fastdiff.arguments import instance
from fastdiff.models import UNet, save

from .checkpoint import TrainState
from .config import TrainConfig
from .images import SPLIT, Images
from .loop import evaluate


def export(
    path: str | Path,
    state: TrainState,
    config: TrainConfig,
    data: Images,
    test: Images,
    command: str,
) -> dict:
    """Write the EMA weights of a run with a UNet in bfloat16 for :func:`fastdiff.models.load`.

    Args:
        path: the file to write.
        state: the finished run.
        config: its settings.
        data: its training images.
        test: images never trained on.
        command: the command that made the run.

    Returns:
        the metadata stored with the weights: ``command``, ``seed``, ``split``, ``steps``,
        ``date`` (ISO), ``objective``, ``training`` (the settings), and ``train_loss`` and
        ``test_loss``, the mean squared errors of the prediction with the weights as stored.
    """
    instance("state", state, TrainState, "a TrainState, as new_state makes it")
    instance("config", config, TrainConfig, "a TrainConfig")
    for name, images in (("data", data), ("test", test)):
        instance(name, images, Images, "Images")
    instance("command", command, str, "the command as text")
    model = state.averaged
    net = getattr(model, "net", None)
    if not isinstance(net, UNet):
        raise ValueError(f"state: expected a model with a UNet, got {type(net).__name__}")
    meta = {
        "command": command,
        "seed": config.seed,
        "data": f"{config.data}, padded by {config.pad}, scaled to [-1, 1]",
        "split": SPLIT,
        "steps": state.step,
        "date": date.today().isoformat(),
        "objective": f"{model.prediction}-prediction, {model.schedule!r}",
        "weights": f"EMA, decay {config.ema}",
        "training": config.to_dict(),
    }
    # Rounding to bfloat16 moves the losses a little, so they are measured on the rounded weights.
    rounded = {name: value.bfloat16() for name, value in net.state_dict().items()}
    stored = type(model)(replace(config.model), model.space)
    cast(UNet, stored.net).load_state_dict(rounded)
    meta |= {
        "train_loss": evaluate(stored, data, config),
        "test_loss": evaluate(stored, test, config),
    }
    save(path, net.config, rounded, meta)
    return meta
