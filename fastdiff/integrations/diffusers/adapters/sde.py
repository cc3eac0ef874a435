"""Plans of the schedulers of reverse SDEs."""

import numpy as np
import torch

from ....schedules import EDM, VPLinear
from ....solvers import DDIM, DPMpp2M, DPMppSDE, EulerMaruyama, ReverseDiffusion
from .deviations import ByHand, Landing
from .log_snr import endings
from .lowering import VP, Plan, Unsupported, counted_sigmas, name_of, pairs, walk
from .sigmas import _refuse_sample, _two_stage, _walk, edm_frame
from .timesteps import levels, stride, timesteps_of


def dpm_solver_sde(scheduler, begin, s_noise=1.0) -> Plan:
    _refuse_sample(scheduler)
    sigmas = _two_stage(scheduler, begin)
    draws = (True, True) * (len(sigmas) - 2) + (False,)
    # the stock sampler's noise is that of a path already
    independent = getattr(scheduler, "noise", "torch") == "philox"
    solver = DPMppSDE(s_noise=float(s_noise), independent=independent)
    return _walk(solver, name_of(scheduler.config), sigmas, second="x0", draws=draws)


def cosine_dpm_solver(scheduler, begin) -> Plan:
    config, sigmas = scheduler.config, counted_sigmas(scheduler, begin)
    if scheduler.num_inference_steps is None:
        raise Unsupported("timesteps that were not set")
    if config.solver_order not in (1, 2):
        raise Unsupported(f"solver_order {config.solver_order}")
    endings_ = endings(config, scheduler.timesteps)
    solver = DPMpp2M(config.solver_type, eta=1.0, **endings_)
    if config.solver_order == 1:
        solver = DDIM(1.0)
    draws = tuple((sigmas[1:] > 0).tolist())
    keep = config.solver_order - 1
    return Plan(solver, walks=walk(sigmas.tolist()), draws=draws, keep=keep, **edm_frame(scheduler))


def cogvideox_dpm(scheduler) -> Plan:
    """The first order step from each of the timesteps, and then the row for each that uses what the
    one before has found."""
    t = timesteps_of(scheduler)
    after = [k - stride(scheduler) for k in t]
    starts, ends = levels(scheduler, t), levels(scheduler, after)
    last = after[-1] < 0
    single = [True] + [k < 0 for k in after[1:]]
    return Plan(
        Landing(eta=1.0, euler_at_final=last, ends=tuple(ends)), VP, name_of(scheduler.config),
        (*(walk(pair)[0] for pair in zip(starts, ends, strict=True)), *walk([*starts, ends[-1]])),
        draws=(*(1 for _ in t), *(1 if first else 2 for first in single)),
        second="x0", kept_outside=True,
    )  # fmt: skip


def score_sde_ve(scheduler) -> Plan:
    sigmas = scheduler.discrete_sigmas.double().numpy()
    # in the float32 in which the scheduler rounds down
    at = (scheduler.timesteps * torch.ones(1) * (len(scheduler.timesteps) - 1)).long().numpy()
    ends = np.where(at == 0, 0.0, sigmas[at - 1])
    schedule = EDM(sigmas.min() / 2, sigmas.max())
    walks = pairs(sigmas[at].tolist(), ends.tolist())
    return Plan(
        ReverseDiffusion(denoise=False), schedule, "score", walks, draws=(True,) * len(at),
        second=(1.0,) * len(at),
    )  # fmt: skip


def score_sde_vp(scheduler) -> Plan:
    config, t = scheduler.config, timesteps_of(scheduler)
    return Plan(
        EulerMaruyama(denoise=False, uniform=True), VPLinear(config.beta_min, config.beta_max),
        "eps", walk([*t, 0.0]), draws=(True,) * len(t), second=(1.0,) * len(t),
    )  # fmt: skip


def karras_ve(scheduler) -> Plan:
    sigmas = scheduler.schedule.flip(0).double().numpy()
    raised = raised_levels(scheduler).flip(0).double().tolist()
    schedule = EDM(sigmas[-1], max(sigmas[0], raised[0]))
    return Plan(
        ByHand(tuple(raised)), schedule, "eps", walk([*sigmas.tolist(), 0.0]), second="anchor"
    )


def raised_levels(scheduler) -> torch.Tensor:
    """[N] the sigmas of ``schedule`` with churn."""
    config, sigmas = scheduler.config, scheduler.schedule
    gamma = min(config.s_churn / scheduler.num_inference_steps, 2**0.5 - 1)
    inside = (config.s_min <= sigmas) & (sigmas <= config.s_max)
    return sigmas + gamma * inside * sigmas
