"""Every solver on every schedule and prediction: a table that builds has passed its own check; here
the rows are also run on numbers, by the interpreter, with a model that knows the one data point."""

import numpy as np
import pytest

from fastdiff import grids, solvers
from fastdiff.row import COLUMN, HISTORY
from fastdiff.schedules import EDM, VE, DiscreteBetas, RectifiedFlow, VarianceExploding, VPLinear
from fastdiff.solvers import DDIM, DDPM, Heun, UniPC
from tests.host.interpreter import run
from tests.support.registered import CASES, INVERSES, SOLVERS, label

every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=label)


def test_every_solver_of_the_registry_is_tested():
    assert {type(solver).__name__ for solver in SOLVERS + INVERSES} == set(solvers.names())
    assert solvers.get("DDIM") is DDIM
    with pytest.raises(ValueError, match="name must be one of .*DDIM, .* got 'Magic'"):
        solvers.get("Magic")


@every_solver
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_every_combination_lowers(solver, steps, every):
    """Each solver on every schedule and prediction; in the quick run on a third of them, each with
    one number of steps, and its neighbours in the registry on the others."""
    first = SOLVERS.index(solver) + 3 * steps
    for schedule, prediction in CASES[first % every :: every]:
        table = solver.lower(schedule, steps, prediction=prediction)
        assert table.nfe >= steps and table.order == solver.order
        assert table.t[0] == schedule.t_max
        assert table.t[1] == table.t[0] or table.rows[0, COLUMN["c_z"]] > 0  # churn
        if table.sigma[-1] == 0 and not getattr(solver, "late", False):
            assert not table.rows[-2, [COLUMN["c_z"], COLUMN["c_zp"]]].any()
        assert solver.stochastic or not table.stochastic
        assert table.stochastic == solver.stochastic or steps <= 2


class Point:
    """An exact model of one data point, written from the definitions of the predictions."""

    def __init__(self, table, schedule, x0):
        self.table, self.schedule, self.x0, self.calls = table, schedule, x0, 0

    def __call__(self, y, model_t):
        self.calls += 1
        t = self.table.t[self.calls]
        c = self.schedule.input_scale(t)
        assert model_t == self.schedule.model_time(t)
        alpha, sigma = c * self.schedule.alpha(t), c * self.schedule.sigma(t)
        eps = (y - alpha * self.x0) / sigma
        return {
            "eps": lambda: eps,
            "x0": lambda: self.x0 + 0 * eps,
            "v": lambda: alpha * eps - sigma * self.x0,
            "score": lambda: -eps / sigma,
            "flow": lambda: np.dot(self.schedule.flow_rates(t), [self.x0 + 0 * eps, eps]),
            "edm": lambda: self._edm(y / c, t),
        }[self.table.prediction]()

    def _edm(self, x, sigma):
        total = sigma**2 + self.schedule.sigma_data**2
        skip, out = (
            self.schedule.sigma_data**2 / total,
            sigma * self.schedule.sigma_data / np.sqrt(total),
        )
        return (self.x0 - skip * x) / out


@every_solver
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 6))]
)
@pytest.mark.parametrize("clip", [None, (-0.5, 2.0)])
def test_rows_carry_a_point_to_its_next_level(solver, clip, part):
    """The quick run takes other schedules and predictions for every solver."""
    x0, eps = 0.6, np.array([-1.3, 0.0, 0.4, 2.1])
    # a Runge-Kutta step from almost pure noise goes there and back four times
    tolerance = 1e-6 if solver == solvers.PLMS("prk") else 1e-9
    cases = CASES if clip is None else CASES[::4]
    for schedule, prediction in cases[(SOLVERS.index(solver) + part) % 6 :: 6]:
        table = solver.lower(schedule, 5, prediction=prediction, clip=clip)
        model = Point(table, schedule, x0)
        x, _, visited = run(
            table.rows, model, table.alpha[0] * x0 + table.sigma[0] * eps, lambda n: np.zeros(4)
        )
        assert model.calls == table.nfe == len(visited)
        if not table.stochastic and table.exact_on_point_mass == "full":
            visited.append(x)
            for k, state in enumerate(visited, start=1):
                expected = table.alpha[k] * x0 + table.sigma[k] * eps
                scale = max(table.alpha[k], table.sigma[k])
                np.testing.assert_allclose(state, expected, atol=tolerance * scale)


@pytest.mark.parametrize("clip", [0.5, (-0.5, 0.1)])
def test_clip_bounds_the_sample(clip):
    for solver in SOLVERS:
        if "keep_eps=True" in repr(solver) or "late=True" in repr(solver):
            continue  # they use eps beside the clipped x0
        if solver.exact_on_point_mass == "none":
            continue
        table = solver.lower(VPLinear(), 4, prediction="x0", clip=clip)
        x, *_ = run(table.rows, lambda y, t: 3 * y + 9, np.ones(3), lambda n: np.ones(3))
        high = clip if np.ndim(clip) == 0 else clip[1]
        np.testing.assert_allclose(x, high, rtol=1e-12)


@pytest.mark.covered(times=2)
@every_solver
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("final", ["clean", "min"])
def test_extreme_levels(solver, steps, final):
    for schedule in (EDM(1e-6, 1e8), VE(0.01, 1e4)):
        solver.lower(schedule, steps, prediction="x0", grid=grids.Karras(final=final))
    end = 0.0 if final == "clean" else 1e-6
    solver.lower(RectifiedFlow(1e3), steps, prediction="flow", grid=grids.Uniform(end=end))


@pytest.mark.parametrize("steps", [200, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", {type(s): s for s in SOLVERS}.values(), ids=label)
def test_every_timestep_of_a_discrete_schedule(solver, steps):
    assert solver.lower(DiscreteBetas.linear(steps), steps).nfe >= steps


def test_a_thousand_steps():
    for solver in (DDIM(), DDPM(), UniPC()):
        assert solver.lower(DiscreteBetas.linear(), 1000).nfe >= 1000


def test_second_order_solvers_leave_pure_noise_in_first_order():
    schedule = DiscreteBetas.linear(100).zero_terminal()
    for solver in SOLVERS:
        table = solver.lower(schedule, 5, prediction="v")
        euler = solver.lower(schedule, 5, prediction="v", clip=None).rows[1]
        history = [COLUMN[f"c_h{k}"] for k in range(HISTORY)]
        assert np.isfinite(table.rows[1:-1, 5:]).all() and not euler[history].any()


def test_eps_at_pure_noise_is_refused_with_a_hint():
    with pytest.raises(ValueError, match='"eps" is undefined at alpha = 0 .* Use a "v"'):
        DDIM().lower(DiscreteBetas.linear().zero_terminal(), 5)


def test_memory_of_the_solvers():
    def memory(solver):
        table = solver.lower(VPLinear(), 8)
        return table.history, table.uses_saved

    assert memory(DDIM()) == memory(DDPM()) == (0, False)
    assert memory(Heun()) == (0, True)
    assert memory(solvers.DPMpp2M()) == (1, False)
    assert [memory(UniPC(p)) for p in (1, 2, 3)] == [(1, True), (2, True), (3, True)]


def test_heun_evaluates_twice_but_for_the_last_step():
    table = Heun().lower(EDM(), 18)
    assert table.nfe == 35
    assert Heun().lower(EDM(), 18, grid=grids.Karras(final="min")).nfe == 36


def test_the_default_grid_of_a_view_is_that_of_its_base():
    base = DiscreteBetas.linear()
    view = DDIM().lower(VarianceExploding(base), 4)
    np.testing.assert_array_equal(view.t, DDIM().lower(base, 4).t)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DDIM().lower("vp", 5), TypeError, "schedule: expected a schedule"),
        (lambda: DDIM().lower(VPLinear(), 0), ValueError, "steps must be a positive integer"),
        (lambda: DDIM().lower(VPLinear(), 5, prediction="e"), ValueError, "must be one of 'eps'"),
        (lambda: DDIM().lower(VPLinear(), 5, clip=-1), ValueError, "clip must be a number > 0"),
        (lambda: DDIM().lower(VPLinear(), 5, clip="a"), TypeError, "clip must be None, a number"),
        (lambda: DDIM().lower(VPLinear(), 5, clip=np.nan), ValueError, "clip must be a number"),
        (lambda: DDIM().lower(VPLinear(), 5, grid=[1, 0.5]), ValueError, "steps must be 1"),
        (lambda: DDIM().lower(VPLinear(), 1, grid=[0.5, 1]), ValueError, "times must decrease"),
        (lambda: DDIM().lower(VPLinear(), 2, grid=[1, np.nan, 0]), ValueError, "must lie in"),
        (lambda: DDIM(eta=1.5), ValueError, r"DDIM: eta must be a number in \[0, 1\], got 1.5"),
        (lambda: DDIM(eta="a"), ValueError, "eta must be a number"),
        (lambda: DDPM("learned_small"), ValueError, "variance must be one of 'fixed_small'"),
        (lambda: solvers.DPMpp2M("mid"), ValueError, 'kind must be "midpoint" or "heun"'),
        (lambda: solvers.DPMpp2MSDE(eta=-1), ValueError, "DPMpp2MSDE: eta must be"),
        (lambda: solvers.DPMpp2MSDE(eta=np.inf), ValueError, "DPMpp2MSDE: eta must be"),
        (lambda: UniPC(5), ValueError, "UniPC: order must be 1, 2, 3 or 4, got 5"),
        (lambda: UniPC(2, "bh3"), ValueError, 'variant must be "bh1" or "bh2"'),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_array_of_times_needs_no_steps():
    table = DDIM().lower(VPLinear(), None, grid=np.array([1, 0.4, 0.1]))
    assert table.t.tolist() == [1, 1, 0.4, 0.1] and table.nfe == 2
