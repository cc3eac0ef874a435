"""Export of a trained run to a model file."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from fastdiff.models import load, save

from .checkpoint import TrainState
from .config import TrainConfig
from .data import SPLIT, Digits
from .loop import evaluate


def export(
    path: str | Path,
    state: TrainState,
    config: TrainConfig,
    data: Digits,
    test: Digits,
    command: str,
) -> dict:
    """Write the EMA weights in bfloat16 for :func:`fastdiff.models.load`.

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
        ``test_loss``, the mean squared errors of v with the weights as stored.
    """
    path = Path(path)
    meta = {
        "command": command,
        "seed": config.seed,
        "data": "5,000 MNIST digits, padded to 32x32, scaled to [-1, 1]",
        "split": SPLIT,
        "steps": state.step,
        "date": date.today().isoformat(),
        "objective": "v-prediction, VP cosine schedule",
        "weights": f"EMA, decay {config.ema}",
        "training": config.to_dict(),
    }
    weights = state.ema.module.state_dict()
    # Rounding to bfloat16 moves the losses a little, so they are measured on the file itself.
    partial = path.with_name(path.name + ".partial")
    save(partial, config.model, weights)
    stored, _ = load(partial)
    meta |= {"train_loss": evaluate(stored, data), "test_loss": evaluate(stored, test)}
    save(partial, config.model, weights, meta)
    os.replace(partial, path)
    return meta
