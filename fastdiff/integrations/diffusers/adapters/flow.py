"""Plans of the schedulers of flow models and of consistency models."""

import numpy as np
import torch

from ....schedules import EDM, TrigFlow
from ....solvers import SCM, Consistency, EulerAncestralRF, FlowEuler, FlowHeun, FlowLCM, FlowMap
from .deviations import Affine, Beyond, Masked, Told
from .lowering import FLOW, VP, Plan, Unsupported, name_of, sigmas_of, times_of_rho, walk
from .sigmas import _two_stage
from .timesteps import clip_of, levels, timesteps_of


def flow_match_euler(scheduler) -> Plan:
    if scheduler.config.stochastic_sampling:
        return _flow(scheduler, FlowLCM(), draws=True)
    return _flow(scheduler, FlowEuler())


def flow_match_lcm(scheduler) -> Plan:
    if scheduler._scale_factors and scheduler._upscale_mode:
        raise Unsupported("scale_factors, which change the size of the sample")
    return _flow(scheduler, FlowLCM(), draws=True)


def flow_map(scheduler) -> Plan:
    return _flow(scheduler, FlowMap())


def minimax_h3(scheduler) -> Plan:
    told = 1 - scheduler.timesteps
    if not torch.equal(told, (1 - (1 - scheduler.sigmas))[: len(told)]):
        raise Unsupported("timesteps that are not those of its sigmas")
    return _flow(scheduler, FlowEuler(), turned=True)


def ltx_ancestral(scheduler) -> Plan:
    config, sigmas = scheduler.config, sigmas_of(scheduler)
    solver = EulerAncestralRF(float(config.eta), float(config.s_noise))
    draws = solver.stochastic & (np.abs(sigmas[1:]) >= 1e-8)
    return Plan(solver, FLOW, "flow", walk(sigmas.tolist()), draws=tuple(draws.tolist()))


def _flow(scheduler, solver, draws=False, **options):
    sigmas = sigmas_of(scheduler).tolist()
    drawn = (draws,) * (len(sigmas) - 1)
    return Plan(solver, FLOW, "flow", walk(sigmas), draws=drawn, **options)


def flow_match_heun(scheduler, begin, s_churn=0.0, *rest) -> Plan:
    if s_churn > 0:
        raise Unsupported("s_churn: it is added after the model")
    return Plan(FlowHeun(), FLOW, "flow", walk(_two_stage(scheduler, begin).tolist()))


def scm(scheduler) -> Plan:
    times = scheduler.timesteps.double().numpy()
    times = np.minimum(times, np.pi / 2)  # its default goes 4e-6 beyond
    schedule = TrigFlow(scheduler.config.sigma_data)
    draws = (True,) * (len(times) - 1)
    return Plan(SCM(), schedule, "flow", walk(times.tolist()), draws=draws, second="x0")


def consistency(scheduler) -> Plan:
    config, sigmas = scheduler.config, sigmas_of(scheduler).tolist()
    schedule = EDM(config.sigma_min, config.sigma_max, config.sigma_data, precondition=True)
    solver = Consistency(config.sigma_min, config.s_noise)
    sigmas[0] = min(sigmas[0], config.sigma_max)
    sigmas[-1] = max(sigmas[-1], config.sigma_min)
    draws = (len(scheduler.timesteps) > 1,) * (len(sigmas) - 1)
    clip = 1.0 if config.clip_denoised else None
    return Plan(solver, schedule, "consistency", walk(sigmas), clip, draws=draws)


def consistency_decoder(scheduler) -> Plan:
    t = timesteps_of(scheduler)
    names = ("c_skip", "c_out", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    skip, out, alpha, sigma = (getattr(scheduler, name).double().numpy()[t] for name in names)
    times = [*times_of_rho(sigma / alpha), 0.0]
    alpha, sigma = np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0)
    factors = np.stack([alpha * skip, alpha * out, sigma], axis=1).tolist()
    draws = (True,) * (len(t) - 1) + (False,)
    return Plan(Affine(tuple(map(tuple, factors))), VP, "eps", walk(times), draws=draws)


def lcm(scheduler) -> Plan:
    config, t = scheduler.config, timesteps_of(scheduler)
    _check_all(scheduler, t)
    times = [*levels(scheduler, t), 0.0]
    solver = Told(timestep_scaling=float(config.timestep_scaling), told=tuple(map(float, t)))
    alpha = VP.alpha(np.array(times[1:]))
    draws = (True,) * (len(t) - 1) + (False,)
    return Plan(
        solver, VP, name_of(config), walk(times), clip_of(config), draws=draws,
        second=tuple((1 / alpha).tolist()),
    )  # fmt: skip


def tcd(scheduler, eta=0.3) -> Plan:
    t = timesteps_of(scheduler)
    _check_all(scheduler, t)
    if not 0 <= eta <= 1:
        raise Unsupported(f"eta = {eta!r}")
    ends = [*t[1:], 0]
    # in the float32 in which the scheduler rounds down
    beyond = np.floor(np.float32(1 - eta) * np.float32(ends)).astype(np.int64)
    times, far = levels(scheduler, [*t, 0]), levels(scheduler, beyond)
    ratio = VP.alpha(np.array(far)) / VP.alpha(np.array(times[1:]))
    draws = (eta > 0,) * (len(t) - 1) + (False,)
    return Plan(
        Beyond(tuple(far)), VP, name_of(scheduler.config), walk(times), draws=draws,
        second=tuple(ratio.tolist()),
    )  # fmt: skip


def _check_all(scheduler, timesteps):
    if scheduler.num_inference_steps != len(timesteps):
        raise Unsupported("timesteps of which the first ones were cut off")


def rfd4_proteina(scheduler) -> Plan:
    """Steps of the flow, and in a window of the SDE, whose score is ``ratio`` times as large."""
    config, times = scheduler.config, scheduler._times.double().numpy()
    t, length = times[:-1], np.diff(times)
    snr = (t / (1 - t)) ** 2 * config.tsr_sigma**2
    ratio = (snr + 1) / (snr / config.tsr_k + 1)
    told = scheduler._times[:-1]
    noisy = ((config.t_lim_ode_below <= told) & (told <= config.t_lim_ode)).numpy()
    g = noisy * scheduler._noise.double().numpy()
    score_x, score_v = -ratio / (1 - t), ratio * t / (1 - t)
    factors = [1 + ((1 - ratio) / t + g * score_x) * length, (ratio + g * score_v) * length]
    factors = np.stack([*factors, np.sqrt(2 * g * length)], axis=1).tolist()
    solver = Masked(tuple(map(tuple, factors)))
    return Plan(solver, FLOW, "flow", walk((1 - times).tolist()), draws=tuple(noisy.tolist()))
