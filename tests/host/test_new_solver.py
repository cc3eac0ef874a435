"""A new solver is a class with ``steps``: two that use what the shipped ones do not."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import VPLinear
from fastdiff.solvers import Solver, Stage
from fastdiff.tables.lin import ZP, H, M, S, X, Z
from tests.host.interpreter import run
from tests.host.problems import Mixture


@dataclass(frozen=True)
class Midpoint(Solver):
    """The midpoint method in rho: works in eps, leaves the grid, saves an anchor."""

    prediction_target = "eps"
    order = 2

    def steps(self, path):
        for _, t, s in path.steps():
            middle = path.at_lam((t.lam + s.lam) / 2)
            half = (middle.alpha / t.alpha) * X + middle.alpha * (middle.rho - t.rho) * M
            yield Stage(x=half, at=middle, s=X)
            yield Stage(x=(s.alpha / t.alpha) * S + s.alpha * (s.rho - t.rho) * M, at=s)


@dataclass(frozen=True)
class Reuse(Solver):
    """Every other row adds the previous draw again instead of a fresh one."""

    stochastic = True

    def steps(self, path):
        keep = 0.8
        for i, t, s in path.steps():
            if i % 2 == 0:
                a, noise = keep * s.sigma / t.sigma, s.sigma * sqrt(1 - keep**2) * Z
            else:  # the state holds sqrt(1 - keep^2) sigma of that draw; fill up to sigma_s
                a = 0.5 * s.sigma / t.sigma
                old, shared = a * t.sigma * keep, a * t.sigma * sqrt(1 - keep**2)
                noise = (sqrt(s.sigma**2 - old**2) - shared) * ZP
            yield Stage(x=a * X + (s.alpha - a * t.alpha) * M + noise, at=s)


PROBLEM = Mixture()


def test_midpoint_has_its_known_errors():
    exact = PROBLEM.flow_map()

    def error(steps):
        table = Midpoint().lower(PROBLEM.schedule, steps, grid=grids.Uniform())
        return np.abs(run(table.rows, PROBLEM.eps, PROBLEM.start)[0] - exact).max()

    assert error(20) == pytest.approx(2.47e-3, rel=0.01)
    assert error(320) == pytest.approx(9.13e-6, rel=0.01)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_eps_solvers_clip_x0_and_rederive_eps(clip):
    """With a model whose x0 is 3, the clipped sampler must behave as if it were 1."""
    schedule, x = VPLinear(), np.array([0.3, -2.0])
    grid = grids.Uniform(end=0.1)

    def model(value):
        return lambda y, t: (y - schedule.alpha(t) * value) / schedule.sigma(t)

    table = Midpoint().lower(schedule, 6, grid=grid, clip=clip)
    free = Midpoint().lower(schedule, 6, grid=grid)
    expected, *_ = run(free.rows, model(3.0 if clip is None else 1.0), x)
    np.testing.assert_allclose(run(table.rows, model(3.0), x)[0], expected, rtol=1e-11)


def test_reused_draws():
    table = Reuse().lower(VPLinear(), 5, grid=grids.Uniform(end=0.05))
    assert table.rows[1:-1, COLUMN["draw"]].tolist() == [1, 2, 2, 3, 3]
    assert table.noise_draws == 3
    rows = table.rows.copy()
    rows[2, COLUMN["c_zp"]] *= 1.001
    with pytest.raises(ValueError, match="row 2: on a point mass the noise must be sigma"):
        type(table)(rows=rows, levels=table.levels, **table._meta())


def test_mistakes_of_a_solver_are_named():
    class Greedy(Solver):
        def steps(self, path):
            for _, _, s in path.steps():
                yield Stage(x=s.alpha * H(1), at=s, remember=M)

    class Forgetful(Solver):
        def steps(self, path):
            for _, _, s in path.steps():
                yield Stage(x=s.alpha * M, at=s)

    with pytest.raises(ValueError, match=r"stage 0 reads H\(1\), but only 0 items"):
        Greedy().lower(VPLinear(), 3)
    with pytest.raises(ValueError, match="row 1: on a point mass the noise must be sigma"):
        Forgetful().lower(VPLinear(), 3)
