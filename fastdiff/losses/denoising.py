"""The denoising loss, for every schedule, prediction and weighting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..arguments import function, instance, number, on_device, tensor, whole
from ..ops import mix_noise, squared_error
from ..parameterization import check_prediction
from ..schedules import Schedule
from ..typing import Model, Numbers, Prediction
from .levels import Levels, LevelWeight, at_times, check_times
from .weights import Uniform

Weight = Callable[[Schedule, Tensor], Tensor]


def denoising_loss(
    model: Model,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    *,
    schedule: Schedule,
    prediction: Prediction = "eps",
    weight: Weight | None = None,
    **cond: Any,
) -> Tensor:
    """weight(t) ||x0 - x0_hat||^2 of each sample, [B], computed on the network's own target.

    Predicting x0, eps or the score is the same objective up to this weight (Luo 2022,
    "Understanding diffusion models: a unified perspective", "Three equivalent interpretations").

    Args:
        model: model(x_t, model time, **cond) -> prediction of x0's shape.
        x0: clean data [B, ...].
        t: times of the schedule with sigma > 0, [B].
        noise: eps [B, ...] or keys [B, 2].
        schedule, prediction: what the network is trained to predict.
        weight: see ``fastdiff.losses.weights``; default: one in the unit of the prediction.
        cond: conditions passed to the model.
    """
    if not callable(model):
        function("model", model)
    tensor("x0", x0, dims=1)
    levels, weights = model_levels(schedule, t, prediction, weight)
    if t.device != x0.device:
        on_device("t", t, "x0", x0)
    x_in, target = mix_noise(x0, levels, noise)
    output = model(x_in, schedule.model_time(t), **cond)
    return squared_error(output, target, weights)


def model_levels(
    schedule: Schedule, t: Tensor, prediction: Prediction, weight: Weight | None = None
) -> tuple[Tensor, Tensor]:
    """``levels`` of the network's input and ``target_weight``, [B, 4] and [B]."""
    check_times(t)
    if weight is not None and not isinstance(weight, LevelWeight):  # somebody's own: for tensors
        weights = target_weight(schedule, t, prediction, weight)
        return model_levels(schedule, t, prediction)[0], weights

    def columns(at: Levels):
        return *at.in_model(), *at.target(prediction), _weight(weight, at, prediction)

    numbers = at_times(schedule, t, prediction, ("model", weight), columns)
    return numbers.narrow(1, 0, 4), numbers.select(1, 4)


def target_weight(
    schedule: Schedule, t: Tensor, prediction: Prediction, weight: Weight | None = None
) -> Tensor:
    """The weight of a squared error of the prediction, [B]; arguments of ``denoising_loss``."""
    check_times(t)
    if weight is None or isinstance(weight, LevelWeight):
        kind = "weight", weight
        return at_times(
            schedule, t, prediction, kind, lambda at: (_weight(weight, at, prediction),)
        )[:, 0]
    check_prediction(prediction, schedule)
    function("weight", weight)
    return weight(schedule, t) * Levels.of(schedule, t).x0_factor(prediction)


def _weight(weight: LevelWeight | None, at: Levels, prediction: Prediction) -> Numbers:
    if weight is None or (isinstance(weight, Uniform) and weight.prediction == prediction):
        return 1.0
    return weight._on(at) * at.x0_factor(prediction)


def low_discrepancy(batch: int, generator: torch.Generator) -> Tensor:
    """Stratified uniform numbers u_i = (u + i / B) mod 1, float32 [B] in [0, 1).

    One uniform u for the batch; each u_i alone is uniform, and the batch covers [0, 1] evenly,
    which lowers the variance of the loss (Kingma et al. 2021, "VDM", appendix I.1).
    """
    batch = whole("batch", batch, least=0, most=2**24)
    instance("generator", generator, torch.Generator, "a torch.Generator on the CPU")
    if generator.device.type != "cpu":
        raise ValueError(f"generator: expected one on the CPU, got one on {generator.device}")
    u = torch.rand((), generator=generator)
    return torch.remainder(u + torch.arange(batch) / batch, 1.0)


def edm_times(u: Tensor, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """log rho of EDM's training distribution, N(mean, std^2), at the quantiles u [B] in (0, 1).

    Karras et al. 2022, table 1. A schedule's ``t_of_lam(-log rho)`` makes times of them.
    """
    tensor("u", u)
    mean, std = number("mean", mean), number("std", std, above=0)
    wide = u if u.dtype in (torch.float32, torch.float64) else u.float()
    margin = torch.finfo(u.dtype).eps
    return (mean + std * torch.special.ndtri(wide.clamp(margin, 1 - margin))).to(u.dtype)
