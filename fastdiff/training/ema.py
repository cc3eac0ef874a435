"""Exponential moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = list[Tensor] | tuple[Tensor, ...]


def ema_decay(updates: int, decay: float) -> float:
    """Decay after ``updates`` updates: min(decay, (1 + n) / (10 + n)).

    The usual warm-up (TensorFlow's ``ExponentialMovingAverage``): without it the average would
    remember the random initial weights for about 1 / (1 - decay) steps.
    """
    return min(decay, (1 + updates) / (10 + updates))


def make_ema(model: nn.Module, decay: float) -> AveragedModel:
    """An averaged copy of ``model``; call ``update_parameters(model)`` after each step."""

    @torch.no_grad()
    def average(ema: Tensors, current: Tensors, updates: Tensor | int) -> None:
        torch._foreach_lerp_(ema, current, 1.0 - ema_decay(int(updates), decay))

    return AveragedModel(model, multi_avg_fn=average)
