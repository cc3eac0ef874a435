"""Plans of the schedulers in rho = sigma / alpha: those of k-diffusion and of EDM."""

import numpy as np

from ....schedules import EDM
from ....solvers import KDPM2, LMS, Euler, EulerAncestral, Heun
from .deviations import Below, FromNoise
from .lowering import VE, Plan, Unsupported, name_of, sigmas_of, times_of_rho, walk

PREDICTIONS = {"original_sample": "x0"}


def euler(scheduler, s_churn=0.0, s_tmin=0.0, s_tmax=float("inf"), s_noise=1.0) -> Plan:
    levels = sigmas_of(scheduler)
    prediction = PREDICTIONS.get(scheduler.config.prediction_type) or name_of(scheduler.config)
    churned = (s_churn > 0) & (s_tmin <= levels[:-1]) & (levels[:-1] <= s_tmax)
    if not churned.any():
        return _walk(Euler(), prediction, levels, second="x0")
    solver = Euler(float(s_churn), float(s_tmin), float(s_tmax), float(s_noise), late=True)
    return _walk(solver, prediction, levels, second="churned", draws=tuple(churned.tolist()))


def euler_ancestral(scheduler) -> Plan:
    levels = sigmas_of(scheduler)
    _refuse_sample(scheduler)
    draws = (True,) * (len(levels) - 1)
    return _walk(EulerAncestral(), name_of(scheduler.config), levels, second="x0", draws=draws)


def heun(scheduler, begin) -> Plan:
    config = scheduler.config
    clip = config.clip_sample_range if config.clip_sample else None
    levels = _two_stage(scheduler, begin)
    return _walk(Heun(), name_of(config), levels, clip=clip, second="x0")


def kdpm2(scheduler, begin) -> Plan:
    _refuse_sample(scheduler)
    levels = _two_stage(scheduler, begin)
    return _walk(KDPM2(), name_of(scheduler.config), levels, second="x0")


def kdpm2_ancestral(scheduler, begin) -> Plan:
    _refuse_sample(scheduler)
    levels = _two_stage(scheduler, begin)
    down = scheduler.sigmas_down.double().numpy()
    down = down[begin : begin + 2 * len(levels) - 2 : 2]  # of each step
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(levels[1:] > 0, down / levels[1:], 0.0)
    steps = len(levels) - 1
    draws = (False, True) * (steps - 1) + (False,)
    return _walk(
        Below(kept=tuple(kept.tolist())), name_of(scheduler.config), levels, second="x0",
        draws=draws,
    )  # fmt: skip


def lms(scheduler, begin, order=4) -> Plan:
    if begin > 0:
        raise Unsupported("LMS from the middle: it weighs outputs that it has not seen")
    levels = sigmas_of(scheduler)
    return _walk(LMS(order), name_of(scheduler.config), levels, second="x0", keep=order)


def ipndm(scheduler, begin) -> Plan:
    angle = np.arctan2(scheduler.betas.double(), scheduler.alphas.double()).numpy()
    return Plan(FromNoise(), VE.base, "v", walk((2 / np.pi * angle[begin:]).tolist()), keep=3)


def edm_frame(scheduler) -> dict:
    """Schedule, prediction and sign of a model with EDM's preconditioning."""
    config = scheduler.config
    if config.prediction_type not in ("epsilon", "v_prediction"):
        raise Unsupported(f"prediction_type {config.prediction_type!r}")
    highest = max(float(scheduler.sigmas.max()), config.sigma_max)
    return {
        "schedule": EDM(config.sigma_min, highest, config.sigma_data, precondition=True),
        "prediction": "edm",
        "turned": config.prediction_type == "v_prediction",
    }


def edm_euler(scheduler, s_churn=0.0) -> Plan:
    if s_churn > 0:
        raise Unsupported("s_churn: it is added after the model")
    levels = sigmas_of(scheduler)
    return Plan(Euler(), walks=walk(levels.tolist()), second="x0", **edm_frame(scheduler))


def _walk(solver, prediction, levels, **options):
    return Plan(solver, VE, prediction, walk(times_of_rho(levels)), **options)


def _refuse_sample(scheduler):
    if scheduler.config.prediction_type == "sample":
        raise Unsupported("prediction_type 'sample'")


def _two_stage(scheduler, begin):
    """The different sigmas: all but the first are there twice."""
    if begin % 2:
        raise Unsupported("a start in the middle of a step")
    levels = sigmas_of(scheduler, begin)
    levels = np.append(levels[0], levels[1::2])
    return levels[: np.argmin(levels) + 1]  # without what repeats the end
