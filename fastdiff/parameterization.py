"""What the network predicts, and how to read x0 and eps off it.

Every prediction is linear in (x, output), so reading one is two numbers per noise level. A schedule
may show the model a rescaled input c x (its model frame); predictions are then meant in that frame,
where the levels are alpha_m = c alpha and sigma_m = c sigma:

==========  =============================  ======================================================
prediction  output of an exact model       reference
==========  =============================  ======================================================
"eps"       eps                            Ho et al. 2020
"x0"        x0                             Karras et al. 2022 (denoiser)
"v"         alpha_m eps - sigma_m x0       Salimans and Ho 2022 (here for any alpha^2 + sigma^2)
"score"     -eps / sigma_m                 Song et al. 2021
"flow"      dalpha x0 + dsigma eps         Lipman et al. 2023, per unit of model time; c = 1 only
"edm"       (x0 - c_skip x) / c_out        Karras et al. 2022, network of EDM(precondition=True)
==========  =============================  ======================================================

"consistency" is "edm" with the boundary condition of Song et al. 2023 ("Consistency models"),
eq. 5: c_skip and c_out are those of sigma - sigma_min, so that x0 = x at sigma_min. A table with it
takes the consistency function for x0.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .arguments import attributes, close, describe, did_you_mean
from .schedules import EDM, Schedule
from .schedules.base import check_schedule, namespace
from .typing import Numbers, Prediction

__all__ = [
    "FOREIGN",
    "Frame",
    "PREDICTIONS",
    "Reading",
    "check_defined",
    "check_name",
    "check_prediction",
    "exact_output",
    "output_at",
    "output_levels",
    "read",
    "read_levels",
]


PREDICTIONS = ("eps", "x0", "v", "score", "flow")

#: What others call them: diffusers' ``prediction_type``, k-diffusion, papers.
FOREIGN = {
    "epsilon": "eps", "noise": "eps", "sample": "x0", "x_start": "x0", "denoised": "x0",
    "v_prediction": "v", "velocity": "v", "flow_prediction": "flow", "trigflow": "flow",
}  # fmt: skip


class Reading(NamedTuple):
    """x0 = x0_x x + x0_out out, eps = eps_x x + eps_out out, where x is the sampler's state."""

    x0_x: Numbers
    x0_out: Numbers
    eps_x: Numbers
    eps_out: Numbers


class Frame(NamedTuple):
    """What a prediction is read with besides alpha and sigma: what the model is shown of them.

    Attributes:
        scale: c, by which the state is multiplied for the model.
        rates: (d alpha, d sigma) per unit of model time; for "flow".
        sigma_data, sigma_min: constants of ``EDM``; for "edm" and "consistency".
    """

    scale: Numbers = 1.0
    rates: Numbers = None
    sigma_data: Numbers = None
    sigma_min: Numbers = None

    @classmethod
    def of(cls, prediction: Prediction, schedule: Schedule, t) -> "Frame":
        """The frame of a schedule at times ``t``, as far as the prediction needs it."""
        if prediction in ("eps", "x0"):
            return cls()
        if prediction == "flow":
            return cls(rates=schedule.flow_rates(t))
        if prediction in ("score", "v"):
            return cls(schedule.input_scale(t))
        edm: Any = schedule  # as ``check_name`` has seen to
        return cls(edm.input_scale(t), None, edm.sigma_data, edm.sigma_min)


def read(prediction: Prediction, schedule: Schedule, t) -> Reading:
    """The coefficients that turn (state, model output) at time ``t`` into x0 and eps.

    Args:
        prediction: one of ``PREDICTIONS``, or "edm" or "consistency" with
            ``EDM(precondition=True)``.
        schedule: the noise schedule.
        t: a number, numpy array or torch tensor of times with sigma(t) > 0.

    Raises:
        ValueError: an unknown prediction; "eps" or "score" where alpha = 0 (pure noise, from which
            they cannot tell x0), "x0", "score" or "edm" where sigma = 0 (clean data, from which
            they cannot tell eps), both checked for numbers and numpy arrays; "flow" in a rescaled
            model frame.
    """
    check_prediction(prediction, schedule)
    alpha, sigma = schedule.marginal(t)
    frame = Frame.of(prediction, schedule, t)
    check_defined(prediction, alpha, sigma, frame, t, schedule)
    return read_levels(prediction, alpha, sigma, frame)


def read_levels(prediction: Prediction, alpha, sigma, frame: Frame) -> Reading:
    """``read`` at noise levels that are at hand, of a prediction that is defined there."""
    one = 0 * sigma + 1
    if prediction == "x0":
        return Reading(0 * one, one, 1 / sigma, -alpha / sigma)
    if prediction == "eps":
        return Reading(1 / alpha, -sigma / alpha, 0 * one, one)
    if prediction == "flow":
        dalpha, dsigma = frame.rates
        wronskian = alpha * dsigma - dalpha * sigma
        return Reading(
            dsigma / wronskian, -sigma / wronskian, -dalpha / wronskian, alpha / wronskian
        )
    c, scale = frame.scale, frame.sigma_data
    if prediction == "score":
        return Reading(1 / alpha, sigma * (c * sigma) / alpha, 0 * one, -c * sigma)
    if prediction == "v":
        kappa2 = alpha * alpha + sigma * sigma
        return Reading(alpha / kappa2, -sigma / (c * kappa2), sigma / kappa2, alpha / (c * kappa2))
    if prediction == "consistency":
        above = sigma - frame.sigma_min
        skip, out = scale**2 / (above**2 + scale**2), above * scale * c
        return Reading(skip, out, (1 - skip) / sigma, -out / sigma)
    # "edm": c_skip = sigma_data^2 c_in^2 and c_out = sigma sigma_data c_in, here without the
    # cancellation of 1 - c_skip
    return Reading((scale * c) ** 2, sigma * scale * c, sigma * c * c, -scale * c)


def exact_output(prediction: Prediction, schedule: Schedule, t):
    """``(a, b)`` of the output a x0 + b eps of an exact model at x = alpha x0 + sigma eps.

    The inverse of ``read``, used to check it and the tables built with it. Arguments and errors as
    there.
    """
    check_prediction(prediction, schedule)
    return output_at(prediction, schedule, t, *schedule.marginal(t))


def output_at(prediction: Prediction, schedule: Schedule, t, alpha, sigma):
    """``exact_output`` where alpha and sigma are at hand, of a prediction that was checked."""
    return output_levels(prediction, alpha, sigma, Frame.of(prediction, schedule, t))


def output_levels(prediction: Prediction, alpha, sigma, frame: Frame):
    """``exact_output`` at noise levels that are at hand, of a prediction that was checked."""
    zero = 0 * sigma
    if prediction == "x0":
        return zero + 1, zero
    if prediction == "eps":
        return zero, zero + 1
    if prediction == "flow":
        return frame.rates
    c, scale = frame.scale, frame.sigma_data
    if prediction == "score":
        return zero, -1 / (c * sigma)
    if prediction == "v":
        return -c * sigma, c * alpha
    if prediction == "consistency":
        above = sigma - frame.sigma_min
        total, out = above**2 + scale**2, above * scale * c
        return above**2 / (total * out), -(scale**2) * sigma / (total * out)
    return sigma * c / scale, -c * scale


def check_prediction(prediction, schedule):
    """Raise unless ``prediction`` is known and has a meaning on this schedule."""
    check_schedule(schedule)
    check_name(prediction, schedule)
    if prediction == "flow" and np.any(schedule.input_scale(schedule.t_smallest) != 1):
        raise ValueError(
            'prediction "flow" needs a schedule that feeds the model x itself (input_scale 1), '
            f"got {schedule!r}"
        )


def check_name(prediction, schedule=None):
    """Raise unless ``prediction`` is known, and the schedule, None for levels alone, has the
    constants of a preconditioned network that it is of."""
    if not isinstance(prediction, str):
        raise TypeError(f'prediction: expected a name such as "eps", got {describe(prediction)}')
    if prediction in ("edm", "consistency"):
        if not (isinstance(schedule, EDM) and schedule.precondition):
            raise ValueError(
                f'prediction "{prediction}" needs schedule EDM(precondition=True), got {schedule!r}'
            )
    elif prediction not in PREDICTIONS:
        meant = FOREIGN.get(prediction) or close(prediction, PREDICTIONS)
        raise ValueError(
            f"prediction must be one of {', '.join(map(repr, PREDICTIONS))}, "
            f"got {prediction!r}{did_you_mean(meant)}"
        )


def check_defined(prediction: Prediction, alpha, sigma, frame: Frame, t, schedule=None):
    """Raise ValueError where the prediction does not determine x0 and eps, with the time ``t`` of
    such a level (and the schedule) in the message. Tensors are not checked."""
    if namespace(alpha)[0] is not np:
        return  # no device synchronisation for a check
    if prediction in ("eps", "score") and np.any(alpha == 0):
        raise ValueError(
            f'prediction "{prediction}" is undefined at alpha = 0 (t = {_first(t, alpha == 0):g}): '
            'pure noise does not determine x0. Use a "v", "x0" or "flow" model, or start later.'
        )
    if prediction in ("x0", "score", "edm") and np.any(sigma == 0):
        raise ValueError(
            f'prediction "{prediction}" is undefined at sigma = 0 (t = {_first(t, sigma == 0):g}): '
            'clean data do not determine eps. Use an "eps", "v" or "flow" model, or start later.'
        )
    if prediction == "consistency" and np.any(sigma <= frame.sigma_min):
        raise ValueError(
            'prediction "consistency" is defined above sigma_min = '
            f"{frame.sigma_min:g}, got t = {_first(t, sigma <= frame.sigma_min):g}"
        )
    if prediction == "flow":
        bad = ~np.isfinite(np.sum(frame.rates, axis=0))
        if np.any(bad):
            raise ValueError(
                f'prediction "flow" is undefined at t = {_first(t, bad):g}'
                f"{f' of {schedule!r}' if schedule else ''}: "
                "alpha or sigma has no derivative there"
            )


def _first(t, mask):
    return np.asarray(t)[mask].flat[0]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
