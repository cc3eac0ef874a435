"""Noise added before a step, and steps of two stages at the infinite ends of a schedule."""

from math import inf, sqrt

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import (
    EDM,
    LogSNR,
    VPCosine,
    VPLinear,
)
from fastdiff.solvers import (
    KDPM2,
    Euler,
    EulerAncestral,
    FlowHeun,
    Heun,
    KDPM2Ancestral,
)
from tests.host.problems import gaussian_variance
from tests.support.registered import SCHEDULES, label


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("solver", [Euler(20.0), Heun(20.0), KDPM2(20.0)], ids=label)
def test_churn_stays_within_the_schedule(solver, schedule):
    """The model is told no time above the last, and the first step starts there without noise; but
    for EDM, whose sigma has no end."""
    table = solver.lower(schedule, 5, prediction="v")
    assert table.stochastic
    if isinstance(schedule, EDM):
        assert table.sigma[1] == pytest.approx(80 * sqrt(2)) and schedule.t_limit == inf
        return
    assert table.t.max() == table.t[1] == schedule.t_max == schedule.t_limit
    assert table.rows[0, COLUMN["c_z"]] == 0


@pytest.mark.parametrize("s_tmax", [1.0, 30.0])
def test_churn_only_in_its_range(s_tmax):
    table = Euler(10.0, 0.1, s_tmax).lower(EDM(), 20)
    start = np.append(table.t[0], grids.Karras()(EDM(), 20)[1:-1])
    churned = table.rows[:-2, COLUMN["c_z"]] > 0
    np.testing.assert_array_equal(churned, (start >= 0.1) & (start <= s_tmax))
    assert table.noise_draws == churned.sum()


def test_churn_ends_where_the_grid_does():
    table = Heun(10.0).lower(VPLinear(), 5, grid=grids.Uniform(end=0.1))
    assert table.t[-1] == 0.1 and table.rows[-2, COLUMN["c_z"]] == 0 < table.rows[-4, COLUMN["c_z"]]


def test_two_stage_methods_halve_nothing_at_infinite_gaps():
    """Pure noise at the start, clean data at the end, both at once."""
    for solver in (Heun(), KDPM2(), KDPM2Ancestral(), Heun(20.0), FlowHeun()):
        one = solver.lower(VPCosine(), 1, prediction="v")
        assert one.nfe == 1 and np.isfinite(one.rows[:-1, 5:]).all()


def test_the_midpoint_makes_ancestral_sampling_second_order():
    c, schedule = 0.25, LogSNR((-5.0, 3.0))

    def error(solver):
        table = solver.lower(schedule, 320, grid=grids.Uniform())
        v = table.alpha[-1] ** 2 * c + table.sigma[-1] ** 2
        return abs(gaussian_variance(table, c) / v - 1)

    assert error(EulerAncestral()) == pytest.approx(1.21e-2, rel=0.01)
    assert error(KDPM2Ancestral()) < error(EulerAncestral()) / 100
