"""The denoising loss, for every schedule, prediction and weighting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..arguments import function, instance, number, on_device, tensor, whole
from ..ops import squared_error
from ..parameterization import check_prediction
from ..schedules import Schedule
from .batch import noise_and_target
from .levels import at, at_times, check_times, model_columns
from .weights import BUILT_IN, Uniform, x0_factor

Weight = Callable[[Schedule, Tensor], Tensor]


def denoising_loss(
    model,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    *,
    schedule: Schedule,
    prediction: str = "eps",
    weight: Weight | None = None,
    **cond,
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
    function("model", model)
    tensor("x0", x0, dims=1)
    check_times(t)
    on_device("t", t, "x0", x0)
    levels, weights = model_levels(schedule, t, prediction, weight)
    x_in, target = noise_and_target(x0, levels, noise)
    output = model(x_in, schedule.model_time(t), **cond)
    return squared_error(output, target, weights)


def model_levels(
    schedule: Schedule, t: Tensor, prediction: str, weight: Weight | None = None
) -> tuple[Tensor, Tensor]:
    """``levels`` of the network's input and ``target_weight``, [B, 4] and [B]."""
    check_prediction(prediction, schedule)
    check_times(t)
    function("weight", weight, optional=True)
    if not isinstance(weight, BUILT_IN) or weight == Uniform(prediction):
        levels = at_times(
            schedule, t, ("model", prediction), lambda s, t: model_columns(s, t, prediction)
        )
        return levels, target_weight(schedule, t, prediction, weight)

    def columns(schedule, t):
        known = at(schedule, t)
        weights = _target_weight(known, t, prediction, weight)
        return *model_columns(known, t, prediction), weights

    numbers = at_times(schedule, t, ("model", prediction, weight), columns)
    return numbers.narrow(1, 0, 4), numbers.select(1, 4)


def target_weight(
    schedule: Schedule, t: Tensor, prediction: str, weight: Weight | None = None
) -> Tensor:
    """The weight of a squared error of the prediction, [B]; arguments of ``denoising_loss``."""
    check_prediction(prediction, schedule)
    check_times(t)
    function("weight", weight, optional=True)
    if weight is None or weight == Uniform(prediction):
        return torch.ones_like(t, dtype=None if t.is_floating_point() else torch.float32)
    if not isinstance(weight, BUILT_IN):  # somebody's own: for tensors
        return _target_weight(schedule, t, prediction, weight)

    def columns(schedule, t):
        return (_target_weight(at(schedule, t), t, prediction, weight),)

    return at_times(schedule, t, (weight, prediction), columns)[:, 0]


def _target_weight(schedule: Schedule, t, prediction: str, weight: Weight):
    return weight(schedule, t) * x0_factor(schedule, t, prediction)


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
