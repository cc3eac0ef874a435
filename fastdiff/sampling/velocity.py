"""The probability-flow ODE of a model, and the range over which it is integrated."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from torch import Tensor

from ..arguments import number
from ..parameterization import read
from ..schedules import Schedule
from ..typing import Prediction
from .inverse import Inverse
from .returned import prediction_of


def span(schedule: Schedule, times) -> tuple[float, float, str]:
    """The two ends of the range in the variable of ``velocity``, and its name."""
    start, end = (float(schedule.lam(t)) for t in times)
    return (start, end, "lam") if isfinite(start) and isfinite(end) else (*times, "t")


def velocity(model, schedule: Schedule, prediction: Prediction, times, device, **cond) -> Callable:
    """The probability-flow ODE of a model.

    dx/dt = (d alpha/dt) x0_hat + (d sigma/dt) eps_hat: Song et al. 2021, eq. 13, written for both
    readings of the output. It is integrated in lam = log(alpha / sigma), where an exact model
    knows no schedule, so that neither the clean end of one nor the kinks of a table of betas make
    it stiff; from or to pure noise, where lam is infinite, in the schedule's time t.

    Args:
        model: model(x, model time, **cond) -> prediction.
        schedule, prediction: what it was trained for.
        times: the two ends of the range.
        device: where it will be evaluated.

    Returns:
        f(u [B] float64, x [B, ...]) -> dx/du [B, ...], u = lam or t (``span``).

    Raises:
        ValueError: the slope at pure noise is not known or not finite.
    """
    in_lam = span(schedule, times)[2] == "lam"
    inverse: Callable[[Tensor], Tensor]
    if in_lam:
        inverse = Inverse(schedule, times, device)
    else:
        _check_slope(schedule, prediction, max(times))

    def f(u: Tensor, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 1))
        t = inverse(u) if in_lam else u
        reading = read(prediction, schedule, t)
        data, noise = schedule.dalpha(t), schedule.dsigma(t)
        if in_lam:
            speed = data / schedule.alpha(t) - noise / schedule.sigma(t)
            data, noise = data / speed, noise / speed
        own, other = (
            (data * x0 + noise * eps).to(x.dtype).reshape(shape)
            for x0, eps in ((reading.x0_x, reading.eps_x), (reading.x0_out, reading.eps_out))
        )
        scale = schedule.input_scale(t).to(x.dtype).reshape(shape)
        out = model(scale * x, schedule.model_time(t).to(x.dtype), **cond)
        return own * x + other * prediction_of(out, x)

    return f


def _check_slope(schedule, prediction, t):
    """Raise unless the probability flow has a slope at pure noise."""
    if not isfinite(float(schedule.dalpha(t)) + float(schedule.dsigma(t))):
        raise ValueError(
            f"start: the probability flow of {schedule!r} has no finite slope at t = {t:g}, pure "
            f"noise; expected a time up to {schedule.t_largest:g}"
        )
    read(prediction, schedule, t)  # raises for predictions that do not tell x0 there


def ends(
    schedule: Schedule, noisy: float | None, clean: float | None, names=("start", "end")
) -> tuple[float, float]:
    """Two times; by default those between which a model is usually evaluated."""
    noisy = schedule.t_largest if noisy is None else number(names[0], noisy)
    clean = schedule.t_smallest if clean is None else number(names[1], clean)
    for name, t in zip(names, (noisy, clean), strict=True):
        if not schedule.t_min <= t <= schedule.t_max or not float(schedule.sigma(t)) > 0:
            raise ValueError(
                f"{name}: expected a time in [{schedule.t_min:g}, {schedule.t_max:g}] "
                f"with sigma > 0, got {t:g}"
            )
    return noisy, clean
