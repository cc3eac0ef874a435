"""Measured orders, against exact solutions and golden errors of an independent implementation."""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import LogSNR, VPCosine
from fastdiff.solvers import (
    DDIM,
    DDPM,
    DEIS,
    IPNDM,
    KDPM2,
    LMS,
    DPMFast,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp2S,
    DPMpp3M,
    DPMpp3MSDE,
    DPMSolver,
    DPMSolverSinglestep,
    Euler,
    EulerAncestral,
    Heun,
    UniPC,
)
from tests.host.interpreter import run
from tests.host.problems import Mixture, Trimodal, gaussian_variance
from tests.support.registered import SOLVERS, label

STEPS = (90, 180, 360)  # whole steps for all orders
every_count = pytest.mark.parametrize(
    "counts", [STEPS[:2], pytest.param(STEPS, marks=pytest.mark.slow)], ids=str
)
PROBLEM = Mixture()
EXACT = PROBLEM.flow_map()


def error(solver, steps, problem=PROBLEM, exact=EXACT):
    table = solver.lower(problem.schedule, steps, grid=grids.Uniform())
    x, *_ = run(table.rows, problem.eps, problem.start)
    return np.abs(x - exact).max()


def exact_start(solver, steps):
    """The same with exact states at the first evaluations: without the errors of the start-up."""
    table = solver.lower(PROBLEM.schedule, steps, grid=grids.Uniform())
    given = [PROBLEM.flow_map(t) for t in table.t[1 : 1 + solver.order]]
    x, *_ = run(table.rows, PROBLEM.eps, PROBLEM.start, given=given)
    return np.abs(x - EXACT).max()


def stages(solver, steps):
    """The same for steps of as many intervals as the order, even in lam."""
    return error(solver, solver.order * steps)


def slopes(values):
    return np.log2(np.divide(values[:-1], values[1:]))


# not those of first order on the last steps
DETERMINISTIC = [
    s for s in SOLVERS if not s.stochastic and not getattr(s, "lower_order_final", False)
]


@every_count
@pytest.mark.covered(times=1)
@pytest.mark.parametrize("problem", [PROBLEM, Trimodal()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("solver", DETERMINISTIC, ids=label)
def test_deterministic_order(solver, problem, counts):
    exact = problem.flow_map()
    measured = slopes([error(solver, n, problem, exact) for n in counts])
    p = solver.convergence
    assert (measured > p - 0.15).all() and (measured < p + 0.3).all(), measured


GOLDEN = [
    (error, DDIM(), 5.17e-2, 3.24e-3),
    (error, Euler(), 5.17e-2, 3.24e-3),
    (error, Heun(), 4.05e-3, 1.49e-5),
    (error, KDPM2(), 2.47e-3, 9.13e-6),
    (error, DPMpp2M(), 1.97e-3, 7.49e-6),
    (error, DPMpp2M("heun"), 3.41e-3, 1.26e-5),
    (error, UniPC(1, "bh1", correct_final=True), 5.62e-3, 2.12e-5),
    (error, UniPC(1, "bh2", correct_final=True), 9.57e-3, 3.88e-5),
    (error, UniPC(2, "bh1", correct_final=True), 9.85e-4, 2.86e-7),
    (error, UniPC(2, "bh2", correct_final=True), 3.31e-4, 8.52e-8),
    (error, UniPC(3, "bh2", correct_final=True), 1.61e-4, 1.76e-8),
    (exact_start, UniPC(3, disable_corrector=(0, 1), correct_final=True), 1.14e-4, 2.90e-9),
    (error, DPMpp2S(), 3.05e-3, 1.28e-5),
    (stages, DPMSolverSinglestep(2), 3.05e-3, 1.28e-5),
    (stages, DPMSolverSinglestep(3, "paper"), 4.47e-5, 1.11e-8),
    (stages, DPMSolverSinglestep(3, "paper", "eps"), 2.54e-5, 6.77e-9),
    (error, DPMSolver(), 4.94e-3, 2.05e-5),
    (exact_start, DPMpp3M("published"), 1.20e-3, 4.27e-6),
    (exact_start, DPMpp3M("corrected"), 2.37e-4, 8.87e-8),
    (error, DPMpp3M("corrected", "heun"), 2.94e-3, 8.84e-6),
    (error, DEIS(2), 6.25e-3, 2.63e-5),
    (exact_start, DEIS(3), 6.23e-4, 1.42e-7),
    (error, LMS(), 3.91e-3, 8.95e-6),
    (exact_start, LMS(), 1.10e-3, 3.57e-8),
    (exact_start, IPNDM(), 1.50e-3, 5.89e-6),
]


@pytest.mark.parametrize(("measure", "solver", "e20", "e320"), GOLDEN, ids=label)
def test_golden_errors(measure, solver, e20, e320):
    assert measure(solver, 20) == pytest.approx(e20, rel=0.01)
    assert measure(solver, 320) == pytest.approx(e320, rel=0.01)


@every_count
@pytest.mark.parametrize(
    ("solver", "order"),
    [
        (DPMpp3M("published"), 2),
        (DPMpp3M("corrected"), 3),
        (DPMSolver(3, form="published"), 2),
        (DPMSolver(3, form="corrected"), 3),
        *((DEIS(order), order) for order in (2, 3, 4)),
        *((LMS(order), order) for order in (2, 3, 4)),
        (IPNDM(4), 2),
    ],
    ids=label,
)
def test_order_from_an_exact_start(solver, order, counts):
    """What the lower-order first steps hide."""
    measured = slopes([exact_start(solver, n) for n in counts])
    assert (measured > order - 0.15).all() and (measured < order + 0.3).all(), measured


NARROW = (0.25, LogSNR((-5.0, 3.0)))
WIDE = (0.7, Trimodal.schedule)


def weak_error(solver, steps, problem=NARROW):
    """Relative error of the variance of Gaussian data N(0, c), exactly."""
    c, schedule = problem
    table = solver.lower(schedule, steps, grid=grids.Uniform())
    v = table.alpha[-1] ** 2 * c + table.sigma[-1] ** 2
    return gaussian_variance(table, c) / v - 1


# those for consistency models refresh all noise at once, however small the step
CONVERGENT = [s for s in SOLVERS if s.stochastic and s.convergence > 0]


@every_count
@pytest.mark.parametrize("solver", CONVERGENT, ids=label)
def test_weak_order(solver, counts):
    measured = slopes([abs(weak_error(solver, n)) for n in counts])
    p = solver.convergence
    assert (measured > p - 0.15).all() and (measured < p + 0.3).all(), measured


@pytest.mark.slow
@pytest.mark.parametrize("solver", CONVERGENT, ids=label)
def test_weak_order_on_wider_data_and_a_time_that_bends(solver):
    """Of DPMpp3MSDE("corrected") and DPMFast(2, eta=0.7) this bend makes the leading term so small
    that the next one, of the other sign and of the latter 41 / N of it, shows: from 90 steps on
    their slopes are 1.54, 1.81, 1.91, 1.96 and 2.50, 2.80, 2.91, 2.96."""
    p = solver.convergence
    late = isinstance(solver, DPMpp3MSDE | DPMFast)
    steps = [4 * n for n in STEPS] if late else STEPS
    measured = slopes([abs(weak_error(solver, n, WIDE)) for n in steps])
    assert (measured > p - 0.15).all() and (measured < p + 0.3).all(), measured


@pytest.mark.parametrize(
    ("solver", "e10", "e320"),
    [
        (DDPM(), -3.05e-1, -1.21e-2),
        (EulerAncestral(), -3.05e-1, -1.21e-2),
        (DDPM("fixed_large"), 1.96e-1, 5.6e-3),
        (DPMpp2MSDE(), 2.5e-2, 4.1e-5),
        (DPMpp2MSDE("heun"), 8.9e-2, 9.2e-5),
        (DPMpp3MSDE(), 7.3e-2, 3.2e-5),
        (DPMpp3MSDE("corrected"), 6.8e-2, 1.7e-5),
    ],
    ids=label,
)
def test_golden_weak_errors(solver, e10, e320):
    assert weak_error(solver, 10) == pytest.approx(e10, rel=0.03)
    assert weak_error(solver, 320) == pytest.approx(e320, rel=0.03)


@pytest.mark.parametrize(("steps", "ratio"), [(5, 0.778093), (10, 0.883485), (50, 0.975624)])
def test_ddim_shrinks_gaussian_data_by_the_cosine_of_its_angle(steps, ratio):
    """On N(0, 1) data the full-range cosine path is N equal rotations: std cos(pi / 2N)^N."""
    schedule = VPCosine()
    table = DDIM().lower(schedule, steps, prediction="v", grid=grids.Uniform())
    x, *_ = run(table.rows, lambda x, t: 0 * x, np.ones(1))  # the best v of N(0, 1) is 0
    assert x[0] == pytest.approx(ratio, abs=1e-6)
    assert x[0] == pytest.approx(np.cos(np.pi / 2 / steps) ** steps, rel=1e-12)
