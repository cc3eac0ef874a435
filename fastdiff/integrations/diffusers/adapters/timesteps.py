"""Adapters of the schedulers with a table of alphas, whose step gets a timestep."""

from dataclasses import replace

import numpy as np

from ....solvers import DDIM, PLMS, DDIMInverse, Inpaint
from ....tables.path import Path
from .deviations import (
    Beyond,
    ElsewhereDPMpp2M,
    GivenBetas,
    Posterior,
    Returning,
    TimestepLCM,
    VelocityPLMS,
    denoised,
    x0,
)
from .lowering import Sampler, Unsupported, clip_of, name_of, pieces


def timesteps_of(scheduler) -> list:
    return scheduler.timesteps.tolist()


def levels(scheduler, timesteps, clean=None) -> np.ndarray:
    """[N, 3] alpha, sigma and t of the timesteps, those below 0 the scheduler's clean end (or
    alpha^2 = ``clean``)."""
    table = scheduler.alphas_cumprod.double().numpy()
    timesteps = np.asarray(timesteps, dtype=np.int64)
    if clean is None:
        clean = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
    alpha2 = np.where(timesteps >= 0, table[np.maximum(timesteps, 0)], clean)
    return np.stack([np.sqrt(alpha2), np.sqrt(1 - alpha2), timesteps], axis=1)


def stride(scheduler) -> int:
    if scheduler.num_inference_steps is None:
        raise Unsupported("timesteps that were not set")
    return scheduler.config.num_train_timesteps // scheduler.num_inference_steps


def ddpm(scheduler) -> Sampler:
    t = timesteps_of(scheduler)
    follow = scheduler.custom_timesteps or scheduler.num_inference_steps
    ends = [*t[1:], -1] if follow else [k - 1 for k in t]
    return _ancestral(scheduler, _posterior(scheduler), t, ends)


def unclip(scheduler) -> Sampler:
    t = timesteps_of(scheduler)
    ends = [*t[1:], t[-1] - 1]  # where it goes if no prev_timestep is given
    # of single steps the betas are those given, not those of alphas_cumprod, in float32
    betas = (
        float(scheduler.betas[k]) if after == k - 1 else None
        for k, after in zip(t, ends, strict=True)
    )
    return _ancestral(scheduler, _posterior(scheduler, GivenBetas, betas=tuple(betas)), t, ends)


def _posterior(scheduler, kind=Posterior, **options):
    variance = scheduler.variance_type
    if variance not in ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"):
        raise Unsupported(f"variance_type {variance!r}")
    if variance != scheduler.config.variance_type:
        raise Unsupported("variance_type changed after the scheduler was made")
    return kind(variance, **options)


def _ancestral(scheduler, solver, starts, ends):
    return Sampler(
        Returning(solver, x0), pieces(levels(scheduler, starts), levels(scheduler, ends, 1.0)),
        name_of(scheduler.config), clip_of(scheduler.config), draws=tuple(t > 0 for t in starts),
    )  # fmt: skip


def ddim(scheduler, eta=0.0, use_clipped_model_output=False) -> Sampler:
    clip = clip_of(scheduler.config)
    return _ddim(scheduler, DDIM(eta, clip is not None and not use_clipped_model_output), clip)


def cogvideox_ddim(scheduler) -> Sampler:
    return _ddim(scheduler, DDIM(), None)


def repaint(scheduler) -> Sampler:
    """One row for each timestep that there is: they are gone through several times."""
    clip = 1.0 if scheduler.config.clip_sample else None
    solver = Inpaint(DDIM(scheduler.eta, keep_eps=clip is not None))
    t = sorted(set(timesteps_of(scheduler)), reverse=True)
    return replace(_ddim(scheduler, solver, clip, t, "eps"), timesteps=tuple(t))


def _ddim(scheduler, solver, clip, t=None, prediction=None):
    t = timesteps_of(scheduler) if t is None else t
    ends = [k - stride(scheduler) for k in t]
    return Sampler(
        Returning(solver, x0), pieces(levels(scheduler, t), levels(scheduler, ends)),
        prediction or name_of(scheduler.config), clip, draws=(solver.stochastic,) * len(t),
    )  # fmt: skip


def ddim_inverse(scheduler) -> Sampler:
    config, ends = scheduler.config, timesteps_of(scheduler)
    last = config.num_train_timesteps - 1
    before = [min(t - stride(scheduler), last) for t in ends]
    clip = clip_of(config)
    starts = levels(scheduler, before, float(scheduler.initial_alpha_cumprod))
    solver = Returning(DDIMInverse(keep_eps=clip is not None), x0)
    return Sampler(solver, pieces(starts, levels(scheduler, ends)), name_of(config), clip)


def pndm(scheduler, begin) -> Sampler:
    if begin:
        raise Unsupported("a start in the middle")
    if not scheduler.config.skip_prk_steps:
        raise Unsupported("skip_prk_steps=False")
    prediction = name_of(scheduler.config)
    if prediction == "x0":
        raise Unsupported("prediction_type 'sample'")
    given = timesteps_of(scheduler)
    if given != scheduler.plms_timesteps[: len(given)].tolist():
        raise Unsupported("timesteps that are not the ones set, from the first on")
    t = scheduler._timesteps[::-1].astype(np.int64).tolist()
    ends = [k - stride(scheduler) for k in t]
    if t[1:] != ends[:-1] or ends[-1] >= 0:
        raise Unsupported(
            f"timestep_spacing {scheduler.config.timestep_spacing!r} with so many steps"
        )
    solver = VelocityPLMS() if prediction == "v" else PLMS()
    path = Path.of(*levels(scheduler, [*t, ends[-1]]).T)
    return Sampler(solver, (path,), prediction, keep=3)


def wuerstchen(scheduler) -> Sampler:
    alpha2 = scheduler._alpha_cumprod(scheduler.timesteps, "cpu").double().numpy()
    count = len(alpha2) - 1
    last = (count - 1,) if float(scheduler.timesteps[-1]) == 0 else ()
    path = Path.of(np.sqrt(alpha2), np.sqrt(1 - alpha2))
    return Sampler(Posterior(), (path,), draws=(True,) * count, silent=last)


def lcm(scheduler) -> Sampler:
    config, t = scheduler.config, timesteps_of(scheduler)
    starts = levels(scheduler, _all(scheduler))
    return Sampler(
        Returning(TimestepLCM(timestep_scaling=float(config.timestep_scaling)), denoised),
        (Path.of(*np.append(starts, [[1.0, 0.0, 0.0]], axis=0).T),), name_of(config),
        clip_of(config), draws=(True,) * (len(t) - 1) + (False,),
    )  # fmt: skip


def tcd(scheduler, eta=0.3) -> Sampler:
    t = _all(scheduler)
    if not 0 <= eta <= 1:
        raise Unsupported(f"eta = {eta!r}")
    # in the float32 in which the scheduler rounds down
    beyond = np.floor(np.float32(1 - eta) * np.array([*t[1:], 0], np.float32)).astype(np.int64)
    solver = Beyond(tuple(map(tuple, levels(scheduler, beyond)[:, :2].tolist())))
    path = Path.of(*levels(scheduler, [*t, 0]).T)
    draws = (eta > 0,) * (len(t) - 1) + (False,)
    return Sampler(solver, (path,), name_of(scheduler.config), draws=draws)


def _all(scheduler) -> list:
    """The timesteps, none of which has been cut off."""
    if scheduler.num_inference_steps != len(scheduler.timesteps):
        raise Unsupported("timesteps of which the first ones were cut off")
    return timesteps_of(scheduler)


def cogvideox_dpm(scheduler) -> Sampler:
    """The first order step from each of the timesteps, and then the row for each that uses what the
    one before has found."""
    t = timesteps_of(scheduler)
    after = [k - stride(scheduler) for k in t]
    starts, ends = levels(scheduler, t), levels(scheduler, after)
    single = [Path.of(*np.stack(pair).T) for pair in zip(starts, ends, strict=True)]
    whole = Path.of(*np.append(starts, ends[-1:], axis=0).T)
    solver = ElsewhereDPMpp2M(
        eta=1.0, euler_at_final=after[-1] < 0, ends=tuple(path[1] for path in single)
    )
    first_order = [True] + [k < 0 for k in after[1:]]
    return Sampler(
        solver, (*single, whole), name_of(scheduler.config), caller_remembers=True,
        draws=(*(1 for _ in t), *(1 if first else 2 for first in first_order)),
    )  # fmt: skip
