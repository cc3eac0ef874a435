"""Adapters of the schedulers of flow models, of consistency models and of SDEs in score_sde."""

import numpy as np
import torch

from ....schedules import EDM, TrigFlow, VPLinear
from ....solvers import (
    SCM,
    Consistency,
    EulerAncestralRF,
    EulerMaruyama,
    FlowEuler,
    FlowHeun,
    FlowLCM,
    FlowMap,
    ReverseDiffusion,
)
from ....tables.path import Path
from .deviations import Affine, Returning, mean, x0
from .lowering import Sampler, Unsupported, along, flow, pieces, sigmas_of
from .sigmas import two_stage
from .timesteps import timesteps_of


def flow_match_euler(scheduler) -> Sampler:
    if scheduler.config.stochastic_sampling:
        return _flow(scheduler, FlowLCM(), draws=True)
    return _flow(scheduler, FlowEuler())


def flow_match_lcm(scheduler) -> Sampler:
    if scheduler._scale_factors and scheduler._upscale_mode:
        raise Unsupported("scale_factors, which change the size of the sample")
    return _flow(scheduler, FlowLCM(), draws=True)


def flow_map(scheduler) -> Sampler:
    return _flow(scheduler, FlowMap())


def minimax_h3(scheduler) -> Sampler:
    expected = 1 - scheduler.timesteps
    if not torch.equal(expected, (1 - (1 - scheduler.sigmas))[: len(expected)]):
        raise Unsupported("timesteps that are not those of its sigmas")
    return _flow(scheduler, FlowEuler(), negated=True)


def ltx_ancestral(scheduler) -> Sampler:
    config, sigmas = scheduler.config, sigmas_of(scheduler)
    solver = EulerAncestralRF(float(config.eta), float(config.s_noise))
    draws = solver.stochastic & (np.abs(sigmas[1:]) >= 1e-8)
    return Sampler(solver, flow(sigmas), "flow", draws=tuple(draws.tolist()))


def _flow(scheduler, solver, draws=False, **options):
    sigmas = sigmas_of(scheduler)
    drawn = (draws,) * (len(sigmas) - 1)
    return Sampler(solver, flow(sigmas), "flow", draws=drawn, **options)


def flow_match_heun(scheduler, begin, s_churn=0.0, *rest) -> Sampler:
    if s_churn > 0:
        raise Unsupported("s_churn: it is added after the model")
    return Sampler(FlowHeun(), flow(two_stage(scheduler, begin)), "flow")


def helios_dmd(scheduler) -> Sampler:
    """Levels are those of the timesteps nearest to the timesteps rounded down."""
    t = scheduler.timesteps.double().numpy()
    at = np.abs(t - np.trunc(t)[:, None]).argmin(axis=1)
    sigmas = np.append(sigmas_of(scheduler)[at], 0.0)
    return Sampler(FlowLCM(), flow(sigmas), "flow", draws=_but_the_last(t))


def scm(scheduler) -> Sampler:
    times = scheduler.timesteps.double().numpy()
    times = np.minimum(times, np.pi / 2)  # its default goes 4e-6 beyond
    path = along(TrigFlow(scheduler.config.sigma_data), times)
    return Sampler(Returning(SCM(), x0), path, "flow", draws=(True,) * (len(times) - 1))


def consistency(scheduler) -> Sampler:
    config, sigmas = scheduler.config, sigmas_of(scheduler)
    schedule = EDM(config.sigma_min, config.sigma_max, config.sigma_data, precondition=True)
    solver = Consistency(config.sigma_min, config.s_noise)
    sigmas[0] = min(sigmas[0], config.sigma_max)
    sigmas[-1] = max(sigmas[-1], config.sigma_min)
    draws = (len(scheduler.timesteps) > 1,) * (len(sigmas) - 1)
    clip = 1.0 if config.clip_denoised else None
    return Sampler(solver, along(schedule, sigmas), "consistency", clip, draws=draws)


def consistency_decoder(scheduler) -> Sampler:
    t = timesteps_of(scheduler)
    names = ("c_skip", "c_out", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    skip, out, alpha, sigma = (getattr(scheduler, name).double().numpy()[t] for name in names)
    alpha, sigma = np.append(alpha, 1.0), np.append(sigma, 0.0)
    factors = np.stack([alpha[1:] * skip, alpha[1:] * out, sigma[1:]], axis=1).tolist()
    solver = Affine(tuple(map(tuple, factors)))
    return Sampler(solver, (Path.of(alpha, sigma),), draws=_but_the_last(t))


def _but_the_last(timesteps):
    return (True,) * (len(timesteps) - 1) + (False,)


def rfd4_proteina(scheduler) -> Sampler:
    """Steps of the flow, and in a window of the SDE, whose score is ``ratio`` times as large."""
    config, times = scheduler.config, scheduler._times.double().numpy()
    t, length = times[:-1], np.diff(times)
    snr = (t / (1 - t)) ** 2 * config.tsr_sigma**2
    ratio = (snr + 1) / (snr / config.tsr_k + 1)
    single = scheduler._times[:-1]
    noisy = ((config.t_lim_ode_below <= single) & (single <= config.t_lim_ode)).numpy()
    g = noisy * scheduler._noise.double().numpy()
    score_x, score_v = -ratio / (1 - t), ratio * t / (1 - t)
    factors = [1 + ((1 - ratio) / t + g * score_x) * length, (ratio + g * score_v) * length]
    factors = np.stack([*factors, np.sqrt(2 * g * length)], axis=1).tolist()
    solver = Affine(tuple(map(tuple, factors)), inpaints=True)
    return Sampler(solver, flow(1 - times), "flow", draws=tuple(noisy.tolist()))


def score_sde_ve(scheduler) -> Sampler:
    sigmas = scheduler.discrete_sigmas.double().numpy()
    # in the float32 in which the scheduler rounds down
    at = (scheduler.timesteps * torch.ones(1) * (len(scheduler.timesteps) - 1)).long().numpy()
    starts, ends = sigmas[at], np.where(at == 0, 0.0, sigmas[at - 1])
    starts, ends = (np.stack([np.ones(len(at)), s, s], axis=1) for s in (starts, ends))
    paths = pieces(starts, ends, EDM(sigmas.min() / 2, sigmas.max()))
    solver = Returning(ReverseDiffusion(denoise=False), mean)
    return Sampler(solver, paths, "score", draws=(True,) * len(at))


def score_sde_vp(scheduler) -> Sampler:
    config, t = scheduler.config, timesteps_of(scheduler)
    solver = Returning(EulerMaruyama(denoise=False, uniform=True), mean)
    path = along(VPLinear(config.beta_min, config.beta_max), [*t, 0.0])
    return Sampler(solver, path, draws=(True,) * len(t))
