"""Adapters of the schedulers in sigma of x = x0 + sigma eps: those of k-diffusion and of EDM."""

import numpy as np
import torch

from ....schedules import EDM
from ....solvers import KDPM2, LMS, DPMppSDE, Euler, EulerAncestral, Heun
from ....tables.path import Path
from .deviations import Below, FromNoise, HeunByHand, Returning, churned, x0
from .lowering import Sampler, Unsupported, along, clip_of, exploding, name_of, sigmas_of

PREDICTIONS = {"original_sample": "x0"}


def euler(scheduler, s_churn=0.0, s_tmin=0.0, s_tmax=float("inf"), s_noise=1.0) -> Sampler:
    levels = sigmas_of(scheduler)
    prediction = PREDICTIONS.get(scheduler.config.prediction_type) or name_of(scheduler.config)
    raised = (s_churn > 0) & (s_tmin <= levels[:-1]) & (levels[:-1] <= s_tmax)
    if not raised.any():
        return _sampler(Returning(Euler(), x0), prediction, levels)
    if prediction != "eps":
        raise Unsupported("churn with a model that does not predict eps")
    solver = Euler(float(s_churn), float(s_tmin), float(s_tmax), float(s_noise), late=True)
    return _sampler(Returning(solver, churned), prediction, levels, tuple(raised.tolist()))


def euler_ancestral(scheduler) -> Sampler:
    levels = sigmas_of(scheduler)
    solver = Returning(EulerAncestral(), x0)
    return _sampler(solver, _not_sample(scheduler), levels, (True,) * (len(levels) - 1))


def heun(scheduler, begin) -> Sampler:
    config, levels = scheduler.config, two_stage(scheduler, begin)
    solver = Returning(Heun(), x0, slot=0)
    return _sampler(solver, name_of(config), levels, clip=clip_of(config))


def kdpm2(scheduler, begin) -> Sampler:
    solver = Returning(KDPM2(), x0, slot=0)
    return _sampler(solver, _not_sample(scheduler), two_stage(scheduler, begin))


def kdpm2_ancestral(scheduler, begin) -> Sampler:
    levels = two_stage(scheduler, begin)
    down = scheduler.sigmas_down.double().numpy()
    down = down[begin : begin + 2 * len(levels) - 2 : 2]  # of each step
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.where(levels[1:] > 0, down / levels[1:], 0.0)
    solver = Returning(Below(kept=tuple(kept.tolist())), x0, slot=0)
    draws = (False, True) * (len(levels) - 2) + (False,)
    return _sampler(solver, _not_sample(scheduler), levels, draws)


def dpm_solver_sde(scheduler, begin, s_noise=1.0) -> Sampler:
    levels = two_stage(scheduler, begin)
    # the stock sampler's noise is that of a path already
    independent = getattr(scheduler, "noise", "torch") == "philox"
    solver = DPMppSDE(s_noise=float(s_noise), independent=independent)
    draws = (True, True) * (len(levels) - 2) + (False,)
    return _sampler(Returning(solver, x0, slot=0), _not_sample(scheduler), levels, draws)


def lms(scheduler, begin, order=4) -> Sampler:
    if begin > 0:
        raise Unsupported("LMS from the middle: it weighs outputs that it has not seen")
    solver = Returning(LMS(order), x0)
    return _sampler(solver, name_of(scheduler.config), sigmas_of(scheduler), keep=order)


def ipndm(scheduler, begin) -> Sampler:
    alpha, sigma = (getattr(scheduler, n)[begin:].double().numpy() for n in ("alphas", "betas"))
    size = np.hypot(alpha, sigma)
    return Sampler(FromNoise(), (Path.of(alpha / size, sigma / size),), "v", keep=3)


def edm_frame(scheduler, sigmas) -> dict:
    """Levels, prediction and sign of a model with EDM's preconditioning."""
    config = scheduler.config
    if config.prediction_type not in ("epsilon", "v_prediction"):
        raise Unsupported(f"prediction_type {config.prediction_type!r}")
    highest = max(float(scheduler.sigmas.max()), config.sigma_max)
    schedule = EDM(config.sigma_min, highest, config.sigma_data, precondition=True)
    return {
        "paths": along(schedule, sigmas),
        "prediction": "edm",
        "negated": config.prediction_type == "v_prediction",
    }


def edm_euler(scheduler, s_churn=0.0) -> Sampler:
    if s_churn > 0:
        raise Unsupported("s_churn: it is added after the model")
    return Sampler(Returning(Euler(), x0), **edm_frame(scheduler, sigmas_of(scheduler)))


def karras_ve(scheduler) -> Sampler:
    sigmas = scheduler.schedule.flip(0).double().numpy()
    raised = raised_levels(scheduler).flip(0).double().tolist()
    return Sampler(HeunByHand(tuple(raised)), exploding(np.append(sigmas, 0.0)))


def raised_levels(scheduler) -> torch.Tensor:
    """[N] the sigmas of ``schedule`` with churn."""
    config, sigmas = scheduler.config, scheduler.schedule
    gamma = min(config.s_churn / scheduler.num_inference_steps, 2**0.5 - 1)
    inside = (config.s_min <= sigmas) & (sigmas <= config.s_max)
    return sigmas + gamma * inside * sigmas


def two_stage(scheduler, begin) -> np.ndarray:
    """The different sigmas: all but the first are there twice."""
    if begin % 2:
        raise Unsupported("a start in the middle of a step")
    levels = sigmas_of(scheduler, begin)
    levels = np.append(levels[0], levels[1::2])
    return levels[: np.argmin(levels) + 1]  # without what repeats the end


def _sampler(solver, prediction, sigmas, draws=(), **options):
    return Sampler(
        solver, exploding(sigmas), prediction, draws=draws, input_scales=_input_scale, **options
    )


def _input_scale(alpha, sigma):
    """The model sees the sample divided by sqrt(sigma^2 + 1)."""
    return 1 / np.hypot(alpha, sigma)


def _not_sample(scheduler) -> str:
    """The prediction, of schedulers without one of x0."""
    if scheduler.config.prediction_type == "sample":
        raise Unsupported("prediction_type 'sample'")
    return name_of(scheduler.config)
