"""The SDE solvers against literal loops, diffusers and exact variances."""

import numpy as np
import pytest
import torch

from fastdiff import grids, processes
from fastdiff.row import COLUMN
from fastdiff.schedules import VE, DiscreteBetas, LogSNR, RectifiedFlow, SubVP, VPCosine, VPLinear
from fastdiff.solvers import AncestralSDE, AnnealedLangevin, EulerMaruyama, ReverseDiffusion
from tests.host.interpreter import run
from tests.host.problems import gaussian_variance
from tests.host.stock import DOUBLE, SINGLE, assert_same, ours, start, widen
from tests.support.registered import label


def column(table, name):
    return table.rows[1:-1, COLUMN[name]]


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("schedule", [VPLinear(), SubVP(), VE()], ids=label)
def test_euler_maruyama_is_the_loop_of_score_sde(schedule, eta):
    """Steps of 1/N from times that end at 1e-3."""
    steps, process = 6, processes.of(schedule)
    times = np.linspace(1, 1e-3, steps)
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(4), rng.standard_normal((steps, 4))

    def score(y, t):
        return -y / (1 + t) + 0.1 * np.cos(y)

    table = EulerMaruyama(eta, uniform=True).lower(
        schedule, None, prediction="score", grid=[*times, schedule.t_clean]
        if schedule.t_clean == 0 else [*times, 0.0],
    )  # fmt: skip
    mine, *_ = run(table.rows, score, x, lambda n: z[n - 1])
    for i, t in enumerate(times):
        drift, g = process.reverse(t, x, score(x, t), eta)
        x = x - drift / steps
        if i + 1 < steps:
            x = x + g * np.sqrt(1 / steps) * z[i]
    np.testing.assert_allclose(mine, x, rtol=1e-11)


def test_predictors_on_a_table_of_betas():
    """Song et al. 2021, appendices E and F."""
    betas = np.linspace(1e-4, 0.02, 100)
    schedule, beta = DiscreteBetas(betas), betas[::-1]
    keep = np.sqrt(1 - beta)
    fresh = np.append(np.sqrt(beta)[:-1], 0)
    reverse = ReverseDiffusion().lower(schedule, 100, prediction="score")
    np.testing.assert_allclose(column(reverse, "c_x"), 2 - keep, rtol=1e-10)
    np.testing.assert_allclose(column(reverse, "c_o"), beta, rtol=1e-10)
    np.testing.assert_allclose(column(reverse, "c_z"), fresh, rtol=1e-10)
    flow = ReverseDiffusion(0.0).lower(schedule, 100, prediction="score")
    np.testing.assert_allclose(column(flow, "c_x"), 2 - keep, rtol=1e-10)
    np.testing.assert_allclose(column(flow, "c_o"), beta / 2, rtol=1e-10)
    assert not flow.stochastic
    ancestral = AncestralSDE().lower(schedule, 100, prediction="score")
    np.testing.assert_allclose(column(ancestral, "c_x"), 1 / keep, rtol=1e-10)
    np.testing.assert_allclose(column(ancestral, "c_o"), beta / keep, rtol=1e-10)
    np.testing.assert_allclose(column(ancestral, "c_z"), fresh, rtol=1e-10)


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
@pytest.mark.parametrize("solver", [ReverseDiffusion(), AncestralSDE()], ids=label)
def test_predictors_on_ve(solver, steps):
    grid = grids.Exponential()
    table = solver.lower(VE(), steps, prediction="score", grid=grid)
    high, low = (table.sigma[k] ** 2 for k in (slice(1, -1), slice(2, None)))
    np.testing.assert_allclose(column(table, "c_x"), 1, rtol=1e-12)
    np.testing.assert_allclose(column(table, "c_o"), high - low, rtol=1e-10)
    fresh = high - low if isinstance(solver, ReverseDiffusion) else low * (high - low) / high
    np.testing.assert_allclose(column(table, "c_z")[:-1] ** 2, fresh[:-1], rtol=1e-10)
    assert column(table, "c_z")[-1] == 0


def own_variance(kind, steps):
    """The recursion of the variance of Gaussian data, by hand: lam from -1.5 to 2.5."""
    c, lam = 0.25, np.linspace(-1.5, 2.5, steps + 1)
    alpha2 = 1 / (1 + np.exp(-2 * lam))
    w = alpha2[0] * c + 1 - alpha2[0]
    for i in range(steps):
        v = alpha2[i] * c + 1 - alpha2[i]
        beta = 1 - alpha2[i] / alpha2[i + 1]
        if kind is EulerMaruyama:  # f = -beta(t) / 2 with beta(t) dt = 2 sigma^2 d lam
            beta = 2 * (1 - alpha2[i]) * (lam[i + 1] - lam[i])
        grow = 1 + beta / 2 if kind is EulerMaruyama else 2 - np.sqrt(1 - beta)
        w = (grow - beta / v) ** 2 * w + beta
    return w


@pytest.mark.parametrize("kind", [EulerMaruyama, ReverseDiffusion])
@pytest.mark.parametrize("steps", [1, 10, 320])
def test_exact_variance(kind, steps):
    table = kind(denoise=False).lower(LogSNR((-5.0, 3.0)), steps, grid=grids.Uniform())
    assert gaussian_variance(table, 0.25) == pytest.approx(own_variance(kind, steps), rel=1e-12)


def test_published_weak_errors():
    v = 0.25 / (1 + np.exp(-5.0)) + 1 / (1 + np.exp(5.0))
    assert own_variance(ReverseDiffusion, 10) / v - 1 == pytest.approx(0.387, rel=0.002)
    assert own_variance(ReverseDiffusion, 320) / v - 1 == pytest.approx(1.04e-2, rel=0.01)


@pytest.mark.parametrize("solver", [EulerMaruyama(), ReverseDiffusion(), AncestralSDE()], ids=label)
@pytest.mark.parametrize("schedule", [VPCosine(), RectifiedFlow(), VE()], ids=label)
@pytest.mark.parametrize("steps", [1, 2])
def test_singular_ends(solver, schedule, steps):
    """Pure noise at the start, clean data at the end (of VE at t = -inf): Tweedie's formula."""
    table = solver.lower(schedule, steps, prediction="v")
    assert np.isfinite(table.rows[:-1, 5:]).all()
    noise = table.rows[-2, [COLUMN["c_z"], COLUMN["c_zp"]]]
    assert not noise.any() and table.sigma[-1] == 0


@pytest.mark.parametrize(
    ("grid", "steps"),
    [(None, 99), *((kind(), 20) for kind in (grids.Karras, grids.LogSNR, grids.Beta))],
    ids=label,
)
def test_steps_from_the_last_level_before_pure_noise(grid, steps):
    """On the way to N(0, 1/4) data: the slopes at that timestep are finite."""
    schedule = DiscreteBetas.scaled_linear(100).zero_terminal()
    table = EulerMaruyama(0.0).lower(schedule, steps, prediction="v", grid=grid)
    assert schedule.t_largest in table.t
    levels = iter(table.levels[1:-1])

    def v(y, t):
        _, alpha, sigma, *_ = next(levels)
        return 0.75 * alpha * sigma / (alpha**2 / 4 + sigma**2) * y

    x, *_ = run(table.rows, v, np.ones(1))
    assert x[0] == pytest.approx(0.5, rel=0.1)
    EulerMaruyama().lower(schedule, steps, prediction="v", grid=grid)


# --- Langevin ---------------------------------------------------------------------------------


def test_annealed_langevin_is_the_algorithm_of_the_paper():
    """NCSN, algorithm 1 with epsilon = 2e-5 and denoising: sigma from 1 to 0.01."""
    schedule, epsilon = VE(0.01, 1.0), 2e-5
    table = AnnealedLangevin(epsilon / 0.01**2, repeats=3).lower(
        schedule, 4, prediction="score", grid=grids.Exponential()
    )
    assert table.nfe == 13 and table.noise_draws == 12
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(5), rng.standard_normal((12, 5))

    def score(y, t):
        return -y / (0.5 + t**2)

    mine, *_ = run(table.rows, score, x, lambda n: z[n - 1])
    draws = iter(z)
    for sigma in np.geomspace(1, 0.01, 4):
        t = float(schedule.t_of_lam(-np.log(sigma)))
        for _ in range(3):
            step = epsilon * sigma**2 / 0.01**2
            x = x + step / 2 * score(x, t) + np.sqrt(step) * next(draws)
    np.testing.assert_allclose(mine, x + 0.01**2 * score(x, t), rtol=1e-9)


def test_langevin_at_one_level_reaches_its_known_variance():
    """Unadjusted Langevin dynamics of N(0, v): v / (1 - a / 4v)."""
    c, schedule = 0.25, VPLinear()
    table = AnnealedLangevin(0.3, repeats=400, denoise=False).lower(schedule, None, grid=[0.5, 0.4])
    sigma, alpha = table.sigma[1], table.alpha[1]
    v = alpha**2 * c + sigma**2
    expected = v / (1 - 0.3 * sigma**2 / (4 * v))
    scale = table.alpha[-1] / alpha
    assert gaussian_variance(table, c) == pytest.approx(scale**2 * expected, rel=1e-9)


def test_langevin_errors():
    with pytest.raises(ValueError, match="repeats must be a positive integer, got 0"):
        AnnealedLangevin(repeats=0)
    with pytest.raises(ValueError, match="AnnealedLangevin: step must be a finite number >= 0"):
        AnnealedLangevin(step=-1)
    with pytest.raises(ValueError, match="EulerMaruyama: eta must be a finite number >= 0"):
        EulerMaruyama(eta=-1)


# --- diffusers --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
def test_score_sde_ve_predictor(steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=steps)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)
    widen(scheduler)
    generator, given = torch.Generator().manual_seed(1), []
    x = start(1348.0)

    def score(y, sigma):
        return -y / (1 + sigma**2)

    state = x
    for i, t in enumerate(scheduler.timesteps):
        given.append(torch.randn(x.shape, generator=generator.manual_seed(i), dtype=x.dtype))
        out = score(state, float(scheduler.discrete_sigmas[steps - 1 - i]))
        step = scheduler.step_pred(out, t, state, generator=generator.manual_seed(i))
        state = step.prev_sample
    schedule = VE(0.01, 1348.0)
    table = ReverseDiffusion().lower(schedule, steps, prediction="score", grid=grids.Exponential())
    mine, *_ = run(
        table.rows,
        lambda y, t: score(y, schedule.sigma(t)),
        x.numpy(),
        lambda n: given[n - 1].numpy(),
    )
    # its pipeline returns the mean of the last step; the levels are float32 numbers
    assert_same(mine, step.prev_sample_mean.numpy(), SINGLE)


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
def test_score_sde_vp_predictor(steps):
    pytest.importorskip("diffusers")
    from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

    scheduler = ScoreSdeVpScheduler()
    scheduler.set_timesteps(steps)
    widen(scheduler)
    x, given = start(), []

    def eps(y, t):
        return 0.9 * y + 0.1 * np.cos(3 * t)

    state = x
    for i, t in enumerate(scheduler.timesteps):
        generator = torch.Generator().manual_seed(i)
        given.append(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        state, mean = scheduler.step_pred(
            eps(state, float(t)), state, t, generator=generator.manual_seed(i)
        )
    times = [*scheduler.timesteps.tolist(), 0.0]
    table = EulerMaruyama(uniform=True).lower(VPLinear(), None, grid=times)

    class Given:
        number = staticmethod(lambda n: given[n - 1].numpy())

    assert_same(ours(table, eps, x, Given), mean.numpy(), DOUBLE)
