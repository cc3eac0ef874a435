"""The samplers with fixed steps. Signatures, noise and callbacks are k-diffusion's.

Where noise is added there is one argument more: ``flow``, whether the model is of a rectified flow,
x = (1 - sigma) x0 + sigma eps; None: what the model's object tells (``flow.is_flow``).
"""

import math

import numpy as np
import torch

from ... import solvers
from ...arguments import function, number, whole
from .flow import below_one, check_levels, check_without, is_flow
from .noise import brownian, independent
from .run import Call, Noise, host_levels, run
from .sigmas import MOST

INF = float("inf")


def _churned(solver, call, sigmas, s_churn, s_tmin, s_tmax, s_noise, flow):
    """With churn; noise is drawn before every step, wanted or not. A flow's ODE is the same."""
    call.check()
    if is_flow(call.model, flow):
        check_without("s_churn", f"churn ({solver.__name__})", s_churn)
    levels = host_levels(sigmas)
    window = number("s_tmin", s_tmin, finite=False), number("s_tmax", s_tmax, finite=False)
    low, high = torch.tensor(window, dtype=sigmas.dtype).tolist()  # to be compared to it
    noise = Noise(independent(call.x), "before")
    solver = solver(s_churn, low, high, s_noise)
    return run(call, sigmas, solver, noise, levels, slope_first=True)


@torch.no_grad()
def sample_euler(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0, *, flow=None,
):  # fmt: skip
    """Euler's method, with churn. Karras et al. 2022, algorithm 2 (Euler). ``solvers.Euler``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.Euler, call, sigmas, s_churn, s_tmin, s_tmax, s_noise, flow)


@torch.no_grad()
def sample_heun(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0, *, flow=None,
):  # fmt: skip
    """Heun's method, with churn. Karras et al. 2022, algorithm 2. ``solvers.Heun``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.Heun, call, sigmas, s_churn, s_tmin, s_tmax, s_noise, flow)


@torch.no_grad()
def sample_dpm_2(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0, *, flow=None,
):  # fmt: skip
    """The midpoint method in log sigma, with churn. ``solvers.KDPM2``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.KDPM2, call, sigmas, s_churn, s_tmin, s_tmax, s_noise, flow)


def _ancestral(kind, of_flow, call, sigmas, noise_sampler, flow, **options):
    """The sampler ``kind``, or for flows ``of_flow``; seeded if the model is."""
    call.check()
    levels, flow = host_levels(sigmas), is_flow(call.model, flow)
    if flow:
        check_levels(call.model, levels)
    function("noise_sampler", noise_sampler, optional=True)
    sampler = independent(call.x, call.seed) if noise_sampler is None else noise_sampler
    noise = Noise(sampler, "step", noise_sampler is not None)
    solver = (of_flow if flow else kind)(**options)
    return run(call, sigmas, solver, noise, levels, flow=flow)


@torch.no_grad()
def sample_euler_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, *, flow=None,
):  # fmt: skip
    """Euler's method to below the next level, then noise. ``solvers.EulerAncestral``, of flows
    ``EulerAncestralRF``."""
    call = Call(model, x, extra_args, callback, disable)
    kinds = solvers.EulerAncestral, solvers.EulerAncestralRF
    return _ancestral(*kinds, call, sigmas, noise_sampler, flow, eta=eta, s_noise=s_noise)


@torch.no_grad()
def sample_dpm_2_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, *, flow=None,
):  # fmt: skip
    """``sample_dpm_2`` to below the next level, then noise. ``solvers.KDPM2Ancestral``, of flows
    ``KDPM2AncestralRF``."""
    call = Call(model, x, extra_args, callback, disable)
    kinds = solvers.KDPM2Ancestral, solvers.KDPM2AncestralRF
    return _ancestral(*kinds, call, sigmas, noise_sampler, flow, eta=eta, s_noise=s_noise)


@torch.no_grad()
def sample_dpmpp_2s_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, *, flow=None,
):  # fmt: skip
    """DPM-Solver++(2S) to below the next level, then noise. ``solvers.DPMpp2S``, of flows
    ``DPMpp2SRF``."""
    call = Call(model, x, extra_args, callback, disable)
    kinds = solvers.DPMpp2S, solvers.DPMpp2SRF
    return _ancestral(*kinds, call, sigmas, noise_sampler, flow, eta=eta, s_noise=s_noise)


@torch.no_grad()
def sample_lms(
    model, x, sigmas, extra_args=None, callback=None, disable=None, order=4, *,
    final_denoise=False,
):  # fmt: skip
    """Linear multistep, order 1 to 5, with exact coefficients. ``solvers.LMS``.

    Args:
        final_denoise: the step to sigma = 0 takes what the model returns, as interfaces on top of
            k-diffusion have it; False: it extrapolates, as k-diffusion does.
    """
    call = Call(model, x, extra_args, callback, disable)
    call.check()
    levels = host_levels(sigmas)
    most = max(len(levels) - 1, 1)  # outputs that a step could use
    if isinstance(order, int) and order > most:
        order = most
    solver = solvers.LMS(order, final_denoise=final_denoise)
    return run(call, sigmas, solver, levels=levels, slope_first=True)


@torch.no_grad()
def sample_dpmpp_2m(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """DPM-Solver++(2M). Lu et al. 2022, "DPM-Solver++", algorithm 2. ``solvers.DPMpp2M``."""
    return run(Call(model, x, extra_args, callback, disable), sigmas, solvers.DPMpp2M())


def _sde(solver, call, sigmas, noise_sampler, flow, when="step", draws=True):
    """Noise of one Brownian path in sigma, unless the caller has another; seeded if the model is.
    Of a flow the solvers are the same, on its path."""
    call.check()
    levels, flow = host_levels(sigmas), is_flow(call.model, flow)
    positive = levels[levels > 0]
    function("noise_sampler", noise_sampler, optional=True)
    if noise_sampler is not None:
        noise = Noise(noise_sampler, when, given=True)
    elif len(positive):
        noise = Noise(brownian(call.x, positive.min(), positive.max(), call.seed), when)
    else:
        draws = False
    if flow:
        check_levels(call.model, levels)
        sigmas, levels = below_one(call.model, sigmas, levels)
        draws = draws and solver.stochastic
    return run(call, sigmas, solver, noise if draws else None, levels, flow=flow)


@torch.no_grad()
def sample_dpmpp_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, r=1 / 2, *, flow=None,
):  # fmt: skip
    """DPM-Solver++ for the SDE, two evaluations per step. ``solvers.DPMppSDE``."""
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMppSDE(r, eta=eta, s_noise=s_noise, independent=False)
    return _sde(solver, call, sigmas, noise_sampler, flow, when="stage")


@torch.no_grad()
def sample_dpmpp_2m_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, solver_type="midpoint", *, flow=None,
):  # fmt: skip
    """DPM-Solver++(2M) for the SDE, "midpoint" or "heun". ``solvers.DPMpp2MSDE``."""
    if solver_type not in ("heun", "midpoint"):
        raise ValueError(f'solver_type: expected "heun" or "midpoint", got {solver_type!r}')
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMpp2MSDE(solver_type, eta=eta, s_noise=s_noise)
    return _sde(solver, call, sigmas, noise_sampler, flow, draws=eta > 0)


@torch.no_grad()
def sample_dpmpp_3m_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, *, flow=None,
):  # fmt: skip
    """DPM-Solver++(3M) for the SDE, as published. ``solvers.DPMpp3MSDE``."""
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMpp3MSDE(eta=eta, s_noise=s_noise)
    return _sde(solver, call, sigmas, noise_sampler, flow, draws=eta > 0)


@torch.no_grad()
def sample_dpm_fast(
    model, x, sigma_min, sigma_max, n, extra_args=None, callback=None, disable=None, eta=0.0,
    s_noise=1.0, noise_sampler=None, *, flow=None,
):  # fmt: skip
    """DPM-Solver-fast with ``n`` evaluations. Lu et al. 2022, section 3.4. ``solvers.DPMFast``."""
    Call(model, x, extra_args, callback, disable).check()
    ends = check_ends(sigma_min, sigma_max)
    n = whole("n", int(n) if isinstance(n, float) and n.is_integer() else n, least=1, most=MOST)
    lam = np.linspace(-math.log(ends[1]), -math.log(ends[0]), int(n) // 3 + 2)
    levels = np.exp(-lam)
    levels[[0, -1]] = ends[::-1]
    t, sigmas = (torch.tensor(v.tolist(), device=x.device) for v in (lam, levels))

    def with_times(info):
        callback(info | {"t": t[info["i"]], "t_up": t[info["i"]]})

    call = Call(model, x, extra_args, callback and with_times, disable)
    if is_flow(model, flow):
        check_without("eta", "dpm_fast", eta)
    function("noise_sampler", noise_sampler, optional=True)
    sampler = independent(x, call.seed) if noise_sampler is None else noise_sampler
    noise = Noise(sampler, "step", noise_sampler is not None)
    solver = solvers.DPMFast(n % 3, eta=eta, s_noise=s_noise)
    return run(call, sigmas, solver, noise, levels, slope_first=True)


def check_ends(sigma_min, sigma_max) -> tuple[float, float]:
    """Two different positive numbers."""
    low, high = number("sigma_min", sigma_min, above=0), number("sigma_max", sigma_max, above=0)
    if low == high:
        raise ValueError(f"sigma_min: expected another number than sigma_max, got {low!r}")
    return low, high
