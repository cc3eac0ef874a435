"""Plans of the schedulers that are told a timestep in every step: a table of alphas, and pairs of
timesteps."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from ....solvers import DDIM, PLMS, DDIMInverse, Inpaint
from ..step_index import index_in
from .deviations import Known, Mixed, Posterior, VelocityPLMS
from .lowering import VP, Plan, Unsupported, name_of, pairs, threshold, times_of_alpha2, walk

CUT = "timesteps of which the first ones were cut off"


def timesteps_of(scheduler) -> list:
    return scheduler.timesteps.tolist()


def levels(scheduler, timesteps, clean=None) -> list[float]:
    """Times of ``VP`` of the timesteps, those below 0 the scheduler's clean end (or ``clean``)."""
    table = scheduler.alphas_cumprod.double().numpy()
    timesteps = np.asarray(timesteps, dtype=np.int64)
    if clean is None:
        clean = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
    return times_of_alpha2(np.where(timesteps >= 0, table[np.maximum(timesteps, 0)], clean))


def clip_of(config):
    """Thresholding goes before clipping."""
    if getattr(config, "thresholding", False):
        return threshold(config)
    return config.clip_sample_range if config.clip_sample else None


def stride(scheduler) -> int:
    if scheduler.num_inference_steps is None:
        raise Unsupported("timesteps that were not set")
    return scheduler.config.num_train_timesteps // scheduler.num_inference_steps


def ddpm(scheduler) -> Plan:
    t = timesteps_of(scheduler)
    if scheduler.custom_timesteps or scheduler.num_inference_steps:
        return _posterior(scheduler, t, [*t[1:], -1], clip_of(scheduler.config))
    return _posterior(scheduler, t, [k - 1 for k in t], clip_of(scheduler.config))


def unclip(scheduler) -> Plan:
    config, t = scheduler.config, timesteps_of(scheduler)
    clip = config.clip_sample_range if config.clip_sample else None
    ends = [*t[1:], t[-1] - 1]  # to where it goes if it is not told
    plan = _posterior(scheduler, t, ends, clip)
    single = [k for k, after in zip(t, ends, strict=True) if after == k - 1]
    betas = scheduler.betas[single].double().tolist()  # not those of alphas_cumprod, in float32
    known = Known(tuple(levels(scheduler, single)), tuple(betas))
    return replace(plan, solver=Mixed(scheduler.variance_type, known))


def _posterior(scheduler, starts, ends, clip):
    variance = scheduler.variance_type
    if variance not in ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"):
        raise Unsupported(f"variance_type {variance!r}")
    if variance != scheduler.config.variance_type:
        raise Unsupported("variance_type changed after the scheduler was made")
    return Plan(
        Posterior(variance), VP, name_of(scheduler.config),
        pairs(levels(scheduler, starts), levels(scheduler, ends, 1.0)), clip,
        draws=tuple(t > 0 for t in starts), second="x0",
    )  # fmt: skip


def ddim(scheduler, eta=0.0, use_clipped_model_output=False) -> Plan:
    clip = clip_of(scheduler.config)
    solver = DDIM(eta, keep_eps=clip is not None and not use_clipped_model_output)
    return _ddim(scheduler, solver, clip)


def cogvideox_ddim(scheduler) -> Plan:
    return _ddim(scheduler, DDIM(), None)


def _ddim(scheduler, solver, clip):
    t = timesteps_of(scheduler)
    ends = [k - stride(scheduler) for k in t]
    return Plan(
        solver, VP, name_of(scheduler.config), pairs(levels(scheduler, t), levels(scheduler, ends)),
        clip, draws=(solver.stochastic,) * len(t), second="x0",
    )  # fmt: skip


def ddim_inverse(scheduler) -> Plan:
    config, ends = scheduler.config, timesteps_of(scheduler)
    last = config.num_train_timesteps - 1
    starts = [min(t - stride(scheduler), last) for t in ends]
    clip = config.clip_sample_range if config.clip_sample else None
    initial = float(scheduler.initial_alpha_cumprod)
    return Plan(
        DDIMInverse(keep_eps=clip is not None), VP, name_of(config),
        pairs(levels(scheduler, starts, initial), levels(scheduler, ends)), clip, second="x0",
    )  # fmt: skip


def repaint(scheduler) -> Plan:
    """One row for each timestep that there is: they are gone through several times."""
    t = sorted(set(timesteps_of(scheduler)), reverse=True)
    ends = [k - stride(scheduler) for k in t]
    clip = 1.0 if scheduler.config.clip_sample else None
    solver = Inpaint(DDIM(scheduler.eta, keep_eps=clip is not None))
    return Plan(
        solver, VP, "eps", pairs(levels(scheduler, t), levels(scheduler, ends)), clip,
        draws=(True,) * len(t), second="x0",
    )  # fmt: skip


def check_first(timestep, timesteps) -> None:
    """Raise unless a loop begins with the first of the timesteps."""
    if isinstance(timestep, Tensor) and not timestep.is_cpu:
        first = index_in(timestep, timesteps) == 0
    else:
        first = int(timestep) == int(timesteps[0])
    if not first:
        raise Unsupported(CUT)


def follows(timestep, after, timesteps) -> bool:
    """Whether ``after`` is the timestep after ``timestep``; None: there is none."""
    at = _index(timestep, timesteps)
    if at is None:
        return False
    return at + 1 == (len(timesteps) if after is None else _index(after, timesteps))


def _index(timestep, timesteps):
    """Where a timestep is; None if that would have to be read from a device."""
    if isinstance(timestep, Tensor):
        found = index_in(timestep, timesteps)
        if found is not None or not timestep.is_cpu:
            return found
    values = timesteps.tolist() if timesteps.is_cpu else []
    return values.index(timestep) if timestep in values else None


def pndm(scheduler, begin) -> Plan:
    if begin:
        raise Unsupported("a start in the middle")
    if not scheduler.config.skip_prk_steps:
        raise Unsupported("skip_prk_steps=False")
    prediction = name_of(scheduler.config)
    if prediction == "x0":
        raise Unsupported("prediction_type 'sample'")
    told = timesteps_of(scheduler)
    if told != scheduler.plms_timesteps[: len(told)].tolist():
        raise Unsupported("timesteps that are not the ones set, from the first on")
    t = scheduler._timesteps[::-1].astype(np.int64).tolist()
    ends = [k - stride(scheduler) for k in t]
    if t[1:] != ends[:-1] or ends[-1] >= 0:
        raise Unsupported(
            f"timestep_spacing {scheduler.config.timestep_spacing!r} with so many steps"
        )
    solver = VelocityPLMS() if prediction == "v" else PLMS()
    return Plan(solver, VP, prediction, walk(levels(scheduler, [*t, ends[-1]])), keep=3)


def wuerstchen(scheduler) -> Plan:
    values = scheduler._alpha_cumprod(scheduler.timesteps, "cpu")
    times, count = times_of_alpha2(values), len(values) - 1
    last = (count - 1,) if float(scheduler.timesteps[-1]) == 0 else ()
    return Plan(
        Posterior(), VP, "eps", pairs(times[:-1], times[1:]), draws=(True,) * count, silent=last
    )
