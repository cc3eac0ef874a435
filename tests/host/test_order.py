"""Measured orders, against exact solutions and golden errors of an independent implementation."""

import numpy as np
import pytest
from examples import SOLVERS, label
from interpreter import run
from problems import Mixture, gaussian_variance

from fastdiff import grids
from fastdiff.schedules import LogSNR, VPCosine
from fastdiff.solvers import (
    DDIM,
    DDPM,
    KDPM2,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerAncestral,
    Heun,
    UniPC,
)

STEPS = (90, 180, 360)  # whole steps for all orders
PROBLEM = Mixture()
EXACT = PROBLEM.flow_map()


def error(solver, steps):
    table = solver.lower(PROBLEM.schedule, steps, grid=grids.Uniform())
    x, *_ = run(table.rows, PROBLEM.eps, PROBLEM.start)
    return np.abs(x - EXACT).max()


def corrected_error(solver, steps):
    """The same for a predictor-corrector whose last point is corrected too, with one more
    evaluation.

    Two further steps make the table save that corrected point, as the anchor of its last row but
    one.
    """
    schedule = LogSNR((-5.0 - 14.0 / steps, 2.0))
    table = solver.lower(schedule, steps + 2, grid=grids.Uniform())
    _, anchor, _ = run(
        table.rows[: steps + 2], lambda x, t: PROBLEM.eps(x, t, schedule), PROBLEM.start
    )
    return np.abs(anchor - EXACT).max()


def slopes(values):
    return np.log2(np.divide(values[:-1], values[1:]))


@pytest.mark.parametrize("solver", [s for s in SOLVERS if not s.stochastic], ids=label)
def test_deterministic_order(solver):
    if getattr(solver, "lower_order_final", False):
        pytest.skip("first order on the last steps")
    measured = slopes([error(solver, n) for n in STEPS])
    p = solver.convergence
    assert (measured > p - 0.15).all() and (measured < p + 0.3).all(), measured


GOLDEN = [
    (error, DDIM(), 5.17e-2, 3.24e-3),
    (error, Euler(), 5.17e-2, 3.24e-3),
    (error, Heun(), 4.05e-3, 1.49e-5),
    (error, KDPM2(), 2.47e-3, 9.13e-6),
    (error, DPMpp2M(), 1.97e-3, 7.49e-6),
    (error, DPMpp2M("heun"), 3.41e-3, 1.26e-5),
    (corrected_error, UniPC(1, "bh1"), 5.62e-3, 2.12e-5),
    (corrected_error, UniPC(1, "bh2"), 9.57e-3, 3.88e-5),
    (corrected_error, UniPC(2, "bh1"), 9.85e-4, 2.86e-7),
    (corrected_error, UniPC(2, "bh2"), 3.31e-4, 8.52e-8),
    (corrected_error, UniPC(3, "bh2"), 1.61e-4, 1.76e-8),
]


@pytest.mark.parametrize(("measure", "solver", "e20", "e320"), GOLDEN, ids=label)
def test_golden_errors(measure, solver, e20, e320):
    assert measure(solver, 20) == pytest.approx(e20, rel=0.01)
    assert measure(solver, 320) == pytest.approx(e320, rel=0.01)


def weak_error(solver, steps):
    """Relative error of the variance of Gaussian data, exactly."""
    c, schedule = 0.25, LogSNR((-5.0, 3.0))
    table = solver.lower(schedule, steps, grid=grids.Uniform())
    v = table.alpha[-1] ** 2 * c + table.sigma[-1] ** 2
    return gaussian_variance(table, c) / v - 1


# those for consistency models refresh all noise at once, however small the step
CONVERGENT = [s for s in SOLVERS if s.stochastic and s.convergence > 0]


@pytest.mark.parametrize("solver", CONVERGENT, ids=label)
def test_weak_order(solver):
    measured = slopes([abs(weak_error(solver, n)) for n in STEPS])
    p = solver.convergence
    assert (measured > p - 0.15).all() and (measured < p + 0.3).all(), measured


@pytest.mark.parametrize(
    ("solver", "e10", "e320"),
    [
        (DDPM(), -3.05e-1, -1.21e-2),
        (EulerAncestral(), -3.05e-1, -1.21e-2),
        (DDPM("fixed_large"), 1.96e-1, 5.6e-3),
        (DPMpp2MSDE(), 2.5e-2, 4.1e-5),
        (DPMpp2MSDE("heun"), 8.9e-2, 9.2e-5),
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
