"""The kappa family and its relatives: the same rows under many names, exact laws, inversion."""

from math import inf, sqrt

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import (
    EDM,
    VE,
    DiscreteBetas,
    LogSNR,
    RectifiedFlow,
    TrigFlow,
    VPCosine,
    VPLinear,
)
from fastdiff.solvers import (
    DDIM,
    DDPM,
    KDPM2,
    LCM,
    SCM,
    TCD,
    VDM,
    AncestralSDE,
    Consistency,
    EDMHeun,
    Euler,
    EulerAncestralRF,
    FlowEuler,
    FlowHeun,
    FlowLCM,
    FlowMap,
    Heun,
    KDPM2Ancestral,
)
from tests.host.interpreter import run
from tests.host.problems import Mixture
from tests.support.registered import label

SAME = [
    (DDPM(), VDM()),
    (DDPM(), DDPM("fixed_small_log")),
    (DDPM("fixed_large"), DDPM("fixed_large_log")),
    (DDPM("fixed_large"), AncestralSDE()),
    (Consistency(), FlowLCM()),
    (Consistency(), SCM()),
    (FlowEuler(), DDIM()),
    (FlowEuler(), TCD(0.0)),
    (FlowEuler(), FlowMap()),
    (Euler(), EulerAncestralRF(0.0)),
    (KDPM2(), KDPM2Ancestral(0.0)),
    (Heun(8.0), EDMHeun(8.0, 0.0, inf, 1.0)),
]
SETTINGS = [
    (VPLinear(), "eps"),
    (VPCosine(), "v"),
    (RectifiedFlow(), "flow"),
    (DiscreteBetas.linear(), "x0"),
    (TrigFlow(), "flow"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=label)
@pytest.mark.parametrize(("schedule", "prediction"), SETTINGS, ids=label)
def test_same_rows(one, other, schedule, prediction):
    a, b = (solver.lower(schedule, 9, prediction=prediction) for solver in (one, other))
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(a.levels, b.levels)


def test_the_ancestral_sampler_of_ve_is_the_posterior():
    a, b = (solver.lower(VE(), 9) for solver in (AncestralSDE(), DDPM()))
    np.testing.assert_array_equal(a.rows, b.rows)


def test_far_from_the_boundary_lcm_is_consistency():
    grid = grids.Uniform(end=0.1)
    a, b = (
        solver.lower(VPLinear(), 6, grid=grid)
        for solver in (LCM(timestep_scaling=1e9), Consistency())
    )
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-11, atol=1e-13)


def column(table, name):
    return table.rows[1:-1, COLUMN[name]]


def test_vdm_is_equation_33_of_its_paper():
    """z_s = sqrt(alpha_s^2 / alpha_t^2) (z_t - sigma_t c eps) + sqrt((1 - alpha_s^2) c) z."""
    schedule = LogSNR()
    table = VDM().lower(schedule, 7)
    t, s = table.t[1:-1], table.t[2:]
    c = -np.expm1(schedule._gamma(s) - schedule._gamma(t))
    ratio = schedule.alpha(s) / schedule.alpha(t)
    np.testing.assert_allclose(column(table, "c_x"), ratio, rtol=1e-12)
    np.testing.assert_allclose(column(table, "c_o"), -ratio * schedule.sigma(t) * c, rtol=1e-12)
    np.testing.assert_allclose(column(table, "c_z") ** 2, schedule.sigma(s) ** 2 * c, rtol=1e-12)


def test_the_boundary_condition_of_lcm():
    schedule = DiscreteBetas.scaled_linear()
    table = LCM().lower(schedule, 4, prediction="x0", grid=grids.Thinned(grids.Trailing(), 50))
    u = 10 * table.model_t
    alpha = table.alpha[2:]
    np.testing.assert_allclose(column(table, "c_x"), alpha * 0.25 / (u**2 + 0.25), rtol=1e-12)
    np.testing.assert_allclose(column(table, "c_o"), alpha * u / np.sqrt(u**2 + 0.25), rtol=1e-12)
    np.testing.assert_array_equal(column(table, "c_z"), table.sigma[2:])


def test_tcd_with_all_noise_fresh_is_consistency():
    a, b = (solver.lower(VPLinear(), 6) for solver in (TCD(1.0), Consistency()))
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.33, 1.0])
def test_tcd_steps_beyond_and_comes_back(gamma):
    """Algorithm 4 of the paper, on timesteps: to floor((1 - gamma) s), then noise up to s."""
    schedule = DiscreteBetas.scaled_linear()
    table = TCD(gamma).lower(schedule, 4, prediction="eps", grid=grids.Trailing(final="min"))
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(5), rng.standard_normal((4, 5))

    def eps(y, t):
        return 0.8 * y + 0.1 * np.cos(t)

    mine, *_ = run(table.rows, eps, x, lambda n: z[n - 1])
    for i, (t, s) in enumerate([(999, 749), (749, 499), (499, 249), (249, 0)]):
        beyond = np.floor((1 - gamma) * s)
        noise = eps(x, t)
        x0 = (x - schedule.sigma(t) * noise) / schedule.alpha(t)
        x = schedule.alpha(beyond) * x0 + schedule.sigma(beyond) * noise
        if s > 0:
            ratio = schedule.alpha(s) / schedule.alpha(beyond)
            x = ratio * x + sqrt(max(1 - ratio**2, 0)) * z[i]
    np.testing.assert_allclose(mine, x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_rectified_ancestral_is_its_published_loop(eta):
    table = EulerAncestralRF(eta).lower(RectifiedFlow(), 5, prediction="flow")
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(5), rng.standard_normal((4, 5))

    def u(y, sigma):
        return 0.7 * y + 0.1 * np.cos(5 * sigma)

    mine, *_ = run(table.rows, u, x, lambda n: z[n - 1])
    levels = np.linspace(1, 0, 6)
    for i, (t, s) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        x0 = x - t * u(x, t)
        if s == 0:
            x = x0
            continue
        down = s * (1 + (s / t - 1) * eta)
        x = down / t * x + (1 - down / t) * x0
        factor = (1 - s) / (1 - down)
        x = factor * x + np.sqrt(s**2 - (down * factor) ** 2) * z[i]
    np.testing.assert_allclose(mine, x, rtol=1e-12)


def test_flow_heun_is_heun_in_time():
    """Also on a variance-preserving schedule, as the rectified flow of x / (alpha + sigma)."""
    problem, schedule = Mixture(), Mixture.schedule
    times = np.linspace(1, 0, 9)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    scale, tau = alpha + sigma, sigma / (alpha + sigma)

    def velocity(y, i):
        eps = problem.eps(scale[i] * y, times[i])
        return eps - (scale[i] * y - sigma[i] * eps) / alpha[i]

    y = problem.start / scale[0]
    for i in range(8):
        u = velocity(y, i)
        ahead = velocity(y + (tau[i + 1] - tau[i]) * u, i + 1)
        y = y + (tau[i + 1] - tau[i]) * (u + ahead) / 2
    table = FlowHeun().lower(schedule, None, grid=times)
    np.testing.assert_allclose(
        run(table.rows, problem.eps, problem.start)[0], scale[-1] * y, rtol=1e-12
    )


def test_flow_heun_starts_in_pure_noise_at_full_order():
    """The exact velocity of Gaussian data N(0, 1/4): x_0 = x_1 / 2."""

    def error(steps):
        def u(x, t):
            v = (1 - t) ** 2 / 4 + t**2
            return (t - (1 - t) / 4) / v * x

        table = FlowHeun().lower(
            RectifiedFlow(), steps, prediction="flow", grid=grids.Uniform(end=0.1)
        )
        x, *_ = run(table.rows, u, np.ones(1))
        return abs(x[0] - np.sqrt(0.9**2 / 4 + 0.1**2))

    assert np.log2(error(40) / error(80)) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("sigma_min", [0.0, 0.1])
def test_a_consistency_function_gives_exact_samples(steps, sigma_min):
    """On Gaussian data: the exact function maps the marginals to that of sigma_min, and the noise
    brings them back, so the variance is right at every step."""
    c, schedule = 0.3, EDM(sigma_min=0.1, sigma_max=10.0)
    grid = grids.Karras(final="min" if sigma_min else "clean")
    table = Consistency(sigma_min).lower(schedule, steps, prediction="x0", grid=grid)
    variance = c + table.sigma[0] ** 2
    for k, row in enumerate(table.rows[1:-1], start=1):
        gain = np.sqrt((c + sigma_min**2) / (c + table.sigma[k] ** 2))
        variance = variance * gain**2 * row[COLUMN["c_o"]] ** 2 + row[COLUMN["c_z"]] ** 2
        assert variance == pytest.approx(c + table.sigma[k + 1] ** 2, rel=1e-12)
        assert row[COLUMN["c_x"]] == 0


def test_consistency_network():
    """x at sigma_min is its own image: the boundary condition, in the limit."""
    schedule = EDM(precondition=True)
    table = Consistency().lower(
        schedule, None, prediction="consistency", grid=[0.002 * (1 + 1e-9), 0]
    )
    assert column(table, "c_x")[0] == pytest.approx(1, abs=1e-12)
    assert column(table, "c_o")[0] == pytest.approx(0, abs=1e-11)
    with pytest.raises(ValueError, match="defined above sigma_min = 0.002, got t = 0.002"):
        Consistency().lower(schedule, 3, prediction="consistency")
    with pytest.raises(ValueError, match='"consistency" needs schedule EDM'):
        Consistency().lower(EDM(), 3, prediction="consistency")
