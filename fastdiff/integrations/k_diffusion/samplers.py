"""The samplers with fixed steps. Signatures, noise and callbacks are k-diffusion's."""

import math

import numpy as np
import torch

from ... import solvers
from .noise import brownian, independent
from .run import Call, Noise, host_levels, run

INF = float("inf")


def _churned(solver, call, sigmas, s_churn, s_tmin, s_tmax, s_noise):
    """With churn; noise is drawn before every step, wanted or not."""
    call.check()
    levels = host_levels(sigmas)
    low, high = torch.tensor([s_tmin, s_tmax], dtype=sigmas.dtype).tolist()  # to be compared to it
    noise = Noise(independent(call.x), "before")
    return run(call, sigmas, solver(s_churn, low, high, s_noise), noise, levels)


@torch.no_grad()
def sample_euler(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0,
):  # fmt: skip
    """Euler's method, with churn. Karras et al. 2022, algorithm 2 (Euler). ``solvers.Euler``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.Euler, call, sigmas, s_churn, s_tmin, s_tmax, s_noise)


@torch.no_grad()
def sample_heun(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0,
):  # fmt: skip
    """Heun's method, with churn. Karras et al. 2022, algorithm 2. ``solvers.Heun``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.Heun, call, sigmas, s_churn, s_tmin, s_tmax, s_noise)


@torch.no_grad()
def sample_dpm_2(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0,
    s_tmax=INF, s_noise=1.0,
):  # fmt: skip
    """The midpoint method in log sigma, with churn. ``solvers.KDPM2``."""
    call = Call(model, x, extra_args, callback, disable)
    return _churned(solvers.KDPM2, call, sigmas, s_churn, s_tmin, s_tmax, s_noise)


def _ancestral(solver, call, sigmas, noise_sampler):
    call.check()
    sampler = independent(call.x) if noise_sampler is None else noise_sampler
    return run(call, sigmas, solver, Noise(sampler, "step", noise_sampler is not None))


@torch.no_grad()
def sample_euler_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None,
):  # fmt: skip
    """Euler's method to below the next level, then noise. ``solvers.EulerAncestral``."""
    call = Call(model, x, extra_args, callback, disable)
    return _ancestral(solvers.EulerAncestral(eta, s_noise), call, sigmas, noise_sampler)


@torch.no_grad()
def sample_dpm_2_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None,
):  # fmt: skip
    """``sample_dpm_2`` to below the next level, then noise. ``solvers.KDPM2Ancestral``."""
    call = Call(model, x, extra_args, callback, disable)
    return _ancestral(solvers.KDPM2Ancestral(eta, s_noise), call, sigmas, noise_sampler)


@torch.no_grad()
def sample_dpmpp_2s_ancestral(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None,
):  # fmt: skip
    """DPM-Solver++(2S) to below the next level, then noise. ``solvers.DPMpp2S``."""
    call = Call(model, x, extra_args, callback, disable)
    return _ancestral(solvers.DPMpp2S(eta=eta, s_noise=s_noise), call, sigmas, noise_sampler)


@torch.no_grad()
def sample_lms(model, x, sigmas, extra_args=None, callback=None, disable=None, order=4):
    """Linear multistep, order 1 to 4, with exact coefficients. ``solvers.LMS``."""
    return run(Call(model, x, extra_args, callback, disable), sigmas, solvers.LMS(order))


@torch.no_grad()
def sample_dpmpp_2m(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """DPM-Solver++(2M). Lu et al. 2022, "DPM-Solver++", algorithm 2. ``solvers.DPMpp2M``."""
    return run(Call(model, x, extra_args, callback, disable), sigmas, solvers.DPMpp2M())


def _sde(solver, call, sigmas, noise_sampler, when="step", draws=True):
    """Noise of one Brownian path, unless the caller has another."""
    call.check()
    levels = host_levels(sigmas)
    positive = levels[levels > 0]
    if noise_sampler is not None:
        noise = Noise(noise_sampler, when, given=True)
    elif len(positive):
        noise = Noise(brownian(call.x, positive.min(), positive.max()), when)
    else:
        draws = False
    return run(call, sigmas, solver, noise if draws else None, levels)


@torch.no_grad()
def sample_dpmpp_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, r=1 / 2,
):  # fmt: skip
    """DPM-Solver++ for the SDE, two evaluations per step. ``solvers.DPMppSDE``."""
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMppSDE(r, eta=eta, s_noise=s_noise, independent=False)
    return _sde(solver, call, sigmas, noise_sampler, when="stage")


@torch.no_grad()
def sample_dpmpp_2m_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None, solver_type="midpoint",
):  # fmt: skip
    """DPM-Solver++(2M) for the SDE, "midpoint" or "heun". ``solvers.DPMpp2MSDE``."""
    if solver_type not in ("heun", "midpoint"):
        raise ValueError(f'solver_type: expected "heun" or "midpoint", got {solver_type!r}')
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMpp2MSDE(solver_type, eta=eta, s_noise=s_noise)
    return _sde(solver, call, sigmas, noise_sampler, draws=eta > 0)


@torch.no_grad()
def sample_dpmpp_3m_sde(
    model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0,
    noise_sampler=None,
):  # fmt: skip
    """DPM-Solver++(3M) for the SDE, as published. ``solvers.DPMpp3MSDE``."""
    call = Call(model, x, extra_args, callback, disable)
    solver = solvers.DPMpp3MSDE(eta=eta, s_noise=s_noise)
    return _sde(solver, call, sigmas, noise_sampler, draws=eta > 0)


@torch.no_grad()
def sample_dpm_fast(
    model, x, sigma_min, sigma_max, n, extra_args=None, callback=None, disable=None, eta=0.0,
    s_noise=1.0, noise_sampler=None,
):  # fmt: skip
    """DPM-Solver-fast with ``n`` evaluations. Lu et al. 2022, section 3.4. ``solvers.DPMFast``."""
    Call(model, x, extra_args, callback, disable).check()
    ends = check_ends(sigma_min, sigma_max)
    if isinstance(n, bool) or n != int(n) or n < 1:
        raise ValueError(f"n: expected an integer >= 1, got {n!r}")
    lam = np.linspace(-math.log(ends[1]), -math.log(ends[0]), int(n) // 3 + 2)
    levels = np.exp(-lam)
    levels[[0, -1]] = ends[::-1]
    t, sigmas = (torch.tensor(v.tolist(), device=x.device) for v in (lam, levels))

    def told(info):
        callback(info | {"t": t[info["i"]], "t_up": t[info["i"]]})

    call = Call(model, x, extra_args, callback and told, disable)
    sampler = independent(x) if noise_sampler is None else noise_sampler
    noise = Noise(sampler, "step", noise_sampler is not None)
    return run(call, sigmas, solvers.DPMFast(n % 3, eta=eta, s_noise=s_noise), noise, levels)


def check_ends(sigma_min, sigma_max) -> tuple[float, float]:
    """Two different positive numbers."""
    low, high = float(sigma_min), float(sigma_max)
    for name, value in (("sigma_min", low), ("sigma_max", high)):
        if not 0 < value < INF:
            raise ValueError(f"{name}: expected a finite number > 0, got {value!r}")
    if low == high:
        raise ValueError(f"sigma_min: expected another number than sigma_max, got {low!r}")
    return low, high
