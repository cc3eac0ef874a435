"""Solvers that are one another in disguise, and rows known from the papers."""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import DiscreteBetas, RectifiedFlow, VarianceExploding, VPCosine, VPLinear
from fastdiff.solvers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    IPNDM,
    KDPM2,
    LMS,
    DPM2Ancestral,
    DPMFast,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp2S,
    DPMpp2SAncestral,
    DPMpp3M,
    DPMpp3MSDE,
    DPMppSDE,
    DPMSolver,
    DPMSolverSinglestep,
    Euler,
    EulerAncestral,
    Heun,
    KDPM2Ancestral,
    RESMultistep,
    SASolver,
    UniPC,
)
from fastdiff.solvers.exponential import Step
from fastdiff.tables.lin import M, S
from fastdiff.tables.path import Path
from tests.host.interpreter import run
from tests.host.problems import Mixture
from tests.support.registered import SOLVERS, label

SAME = [
    (DDPM(), DDIM(1)),
    (DDPM(), EulerAncestral(1)),
    (DDIM(), Euler()),
    (DDIM(), EulerAncestral(0)),
    (DDIM(0.3), EulerAncestral(0.3)),
    (DDIM(0.3), DDIM(0.3, keep_eps=True)),
    (DDIM(), DPMpp2M(lower_order_final=True)),  # of one step
    (DPMpp2M(), DPMpp2MSDE(eta=0)),
    (DPMpp2M(eta=0.8), DPMpp2MSDE(eta=0.8)),
    (DPMpp2M("heun"), DPMpp2MSDE("heun", eta=0)),
    (DPMpp2M("heun"), RESMultistep()),
    (DPMpp2S(eta=1), DPMpp2SAncestral()),
    (KDPM2(20), DPM2(20)),
    (KDPM2Ancestral(0.4), DPM2Ancestral(0.4)),
    (DPMpp2M(), UniPC(2, "bh2", disable_corrector=range(9))),
    (DPMpp3M("corrected"), UniPC(3, "bh2", disable_corrector=range(9))),
    (DPMpp3M(eta=1), DPMpp3MSDE(kind="midpoint")),
    (DDIM(), DPMSolver(1)),
    (DDIM(), DEIS(1)),
    (DPMSolver(2, "heun"), DEIS(2)),
    (DPMSolver(3, "heun", "corrected"), DEIS(3)),
    (DPMSolver(3, "heun", "corrected", eta=0.49), SASolver(3, 0, 0.7, prediction_target="eps")),
    (DDIM(1), SASolver(1, 0)),
    (DDIM(), DPMSolverSinglestep(1)),
    (DDIM(), LMS(1)),
    (DDIM(), IPNDM(1)),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=label)
@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [
        (VPLinear(), "eps"),
        (VPCosine(), "v"),
        (RectifiedFlow(), "flow"),
        (DiscreteBetas.linear(), "x0"),
    ],
    ids=label,
)
def test_same_rows(one, other, schedule, prediction):
    steps = 1 if "lower_order_final=True" in repr(other) else 9
    a = one.lower(schedule, steps, prediction=prediction)
    b = other.lower(schedule, steps, prediction=prediction)
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(a.levels, b.levels)


@pytest.mark.parametrize(
    ("two_stages", "singlestep"),
    [
        (DPMpp2S(), DPMSolverSinglestep(2, "midpoint", "x0")),
        (KDPM2(), DPMSolverSinglestep(2, "midpoint", "eps")),
        (DPMFast(2), DPMSolverSinglestep(3, "paper", "eps")),
    ],
    ids=label,
)
def test_singlestep_on_a_grid_with_the_stages_in_it(two_stages, singlestep):
    schedule, model, start = Mixture.schedule, Mixture().eps, Mixture.start
    coarse = np.array([0.9, 0.5, 0.3])
    order = singlestep.order
    first = np.linspace(*schedule.lam(coarse[:2]), order + 1)
    second = np.linspace(*schedule.lam(coarse[1:]), 3)  # DPMFast(2) ends with order two
    fine = schedule.t_of_lam(np.append(first, second[1:]))
    a = two_stages.lower(schedule, None, grid=coarse)
    b = singlestep.lower(schedule, None, grid=fine)
    np.testing.assert_allclose(a.t, b.t, rtol=1e-12)
    x, y = (run(table.rows, model, start)[0] for table in (a, b))
    np.testing.assert_allclose(x, y, rtol=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            (SASolver(p, p + 1, 0.0, correct_final=True), UniPC(p, "bh1", correct_final=True))
            for p in (1, 2, 3)
        ),
        (DPMpp2S(), DPMppSDE(eta=0)),
    ],
    ids=label,
)
def test_same_samples(one, other):
    """What they keep in the anchor differs."""
    grid = np.linspace(1, 0, 9) ** 1.4
    tables = (solver.lower(Mixture.schedule, None, grid=grid) for solver in (one, other))
    x, y = (run(table.rows, Mixture().eps, Mixture.start)[0] for table in tables)
    np.testing.assert_allclose(x, y, rtol=1e-12)


def test_linear_multistep_with_even_steps_is_ipndm():
    rho = np.linspace(2.0, 0.2, 8)
    grid = VPLinear().t_of_lam(-np.log(rho))
    a, b = (kind(4).lower(VPLinear(), None, grid=grid) for kind in (LMS, IPNDM))
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-9, atol=1e-12)


def column(table, name):
    return table.rows[1:-1, COLUMN[name]]


def test_ddpm_is_the_posterior_of_the_paper():
    """Ho et al. 2020, eq. 7 and algorithm 2, on all thousand timesteps."""
    betas = np.linspace(1e-4, 0.02, 1000)
    small = DDPM().lower(DiscreteBetas(betas), 1000)
    large = DDPM("fixed_large").lower(DiscreteBetas(betas), 1000)
    beta = betas[::-1]
    log_bar = np.cumsum(np.log1p(-betas))
    noise = -np.expm1(log_bar)[::-1]  # 1 - alpha_bar_t
    less = np.append(noise[1:], 0)  # 1 - alpha_bar_{t-1}
    np.testing.assert_allclose(column(small, "c_x"), 1 / np.sqrt(1 - beta), rtol=1e-10)
    c_o = -beta / np.sqrt(noise) / np.sqrt(1 - beta)
    np.testing.assert_allclose(column(small, "c_o"), c_o, rtol=1e-9)
    np.testing.assert_allclose(
        column(small, "c_z") ** 2, beta * less / noise, rtol=1e-9, atol=1e-16
    )
    variance = np.append(beta[:-1], 0)  # no noise on the step to clean data
    np.testing.assert_allclose(column(large, "c_z") ** 2, variance, rtol=1e-9)
    for name in ("c_x", "c_o"):
        np.testing.assert_array_equal(column(small, name), column(large, name))


def test_euler_on_a_rectified_flow_is_euler_in_t():
    table = Euler().lower(RectifiedFlow(), 8, prediction="flow")
    np.testing.assert_allclose(column(table, "c_x"), 1, rtol=1e-14)
    np.testing.assert_allclose(column(table, "c_o"), -1 / 8, rtol=1e-13)


def test_full_range_cosine_ddim_is_a_fixed_rotation():
    table = DDIM().lower(VPCosine(), 10, prediction="v")
    np.testing.assert_allclose(column(table, "c_x"), np.cos(np.pi / 20), rtol=1e-13)
    np.testing.assert_allclose(column(table, "c_o"), -np.sin(np.pi / 20), rtol=1e-13)


def test_unic_reproduces_what_its_nodes_agree_on():
    """With one x0 everywhere every UniC and UniP is DDIM."""
    path = Path.along(VPLinear(), np.linspace(0.9, 0.1, 5))
    nodes = [(path[1], M), (path[0], M), (path[3], M)]
    step = Step("x0", path[2], path[3]).drift(nodes, S, M)
    ddim = list(DDIM().steps(path))[2].x
    assert step["s"] == pytest.approx(ddim["x"], rel=1e-13)
    assert step["m"] == pytest.approx(ddim["m"], rel=1e-13)


# the large variance of DDPM is about N(0, 1) data, so it depends on the scale of the state
COVARIANT = [solver for solver in SOLVERS if solver.exact_on_point_mass == "full"]


@pytest.mark.parametrize("solver", COVARIANT, ids=label)
def test_variance_exploding_view_gives_the_same_samples(solver):
    """Any solver in y = x / alpha takes the same states, up to alpha, and feeds the model the same
    inputs."""
    base, problem = VPLinear(), Mixture()
    grid = grids.LogSNR(sigma_min=0.05, sigma_max=10.0)
    plain = solver.lower(base, 9, grid=grid)
    view = solver.lower(VarianceExploding(base), 9, grid=grid)
    z = np.random.default_rng(1).standard_normal((20, 5))
    inputs = {"plain": [], "view": []}

    def model(name):
        def eps(y, t):
            inputs[name].append(y)
            return problem.eps(y, t, base)

        return eps

    x, *_ = run(plain.rows, model("plain"), problem.start, lambda n: z[n])
    start = problem.start / base.alpha(view.t[0])
    y, *_ = run(view.rows, model("view"), start, lambda n: z[n])
    np.testing.assert_allclose(inputs["view"], inputs["plain"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(y, x, rtol=1e-9, atol=1e-11)  # the clean end has alpha = 1


def test_heun_is_algorithm_1_of_edm():
    problem, schedule = Mixture(), Mixture.schedule
    times = np.linspace(1, 0, 9)
    rho = schedule.sigma(times) / schedule.alpha(times)

    def slope(y, i):
        x = y * schedule.alpha(times[i])
        return problem.eps(x, times[i])  # (y - D) / rho

    y = problem.start / schedule.alpha(times[0])
    for i in range(8):
        d = slope(y, i)
        euler = y + (rho[i + 1] - rho[i]) * d
        y = y + (rho[i + 1] - rho[i]) * 0.5 * (d + slope(euler, i + 1))
    table = Heun().lower(schedule, None, grid=times)
    x, *_ = run(table.rows, problem.eps, problem.start)
    np.testing.assert_allclose(x, y * schedule.alpha(times[-1]), rtol=1e-12)


@pytest.mark.parametrize("kind", ["midpoint", "heun"])
def test_2m_sde_is_the_published_loop(kind):
    """k-diffusion's sample_dpmpp_2m_sde, eta = 0.7, in y = x / alpha."""
    problem, schedule, eta = Mixture(), Mixture.schedule, 0.7
    times = np.linspace(1, 0.1, 8) ** 1.5
    sigmas = schedule.sigma(times) / schedule.alpha(times)
    z = np.random.default_rng(2).standard_normal((10, 5))
    y, old, h_last = problem.start / schedule.alpha(times[0]), None, None
    for i in range(7):
        x = y * schedule.alpha(times[i])
        denoised = y - sigmas[i] * problem.eps(x, times[i])
        h = np.log(sigmas[i]) - np.log(sigmas[i + 1])
        eta_h = eta * h
        y = sigmas[i + 1] / sigmas[i] * np.exp(-eta_h) * y - np.expm1(-h - eta_h) * denoised
        if old is not None:
            r = h_last / h
            if kind == "heun":
                phi = (-h - eta_h - np.expm1(-h - eta_h)) / (-h - eta_h) * -1
                y = y + (np.expm1(-h - eta_h) / (h + eta_h) + 1) * (1 / r) * (denoised - old)
                assert phi == pytest.approx(-(1 + np.expm1(-h - eta_h) / (h + eta_h)))
            else:
                y = y + 0.5 * -np.expm1(-h - eta_h) * (1 / r) * (denoised - old)
        y = y + z[i + 1] * sigmas[i + 1] * np.sqrt(-np.expm1(-2 * eta_h))
        old, h_last = denoised, h
    table = DPMpp2MSDE(kind, eta=eta).lower(schedule, None, grid=times)
    x, *_ = run(table.rows, problem.eps, problem.start, lambda n: z[n])
    np.testing.assert_allclose(x, y * schedule.alpha(times[-1]), rtol=1e-11)


def test_keep_eps_is_diffusers_default_for_clipped_ddim():
    schedule = VPLinear()
    table = DDIM(keep_eps=True).lower(schedule, 3, clip=1)
    alpha, sigma = schedule.alpha(table.t), schedule.sigma(table.t)
    x = np.array([0.3, 2.5, -4.0])

    def model(x, t):
        return 0.7 * x + 0.1

    result, *_ = run(table.rows, model, x)
    for k in (1, 2, 3):
        eps = model(x, None)
        x0 = np.clip((x - sigma[k] * eps) / alpha[k], -1, 1)
        x = alpha[k + 1] * x0 + sigma[k + 1] * eps
    np.testing.assert_allclose(result, x, rtol=1e-12)
