"""Paths of levels that are given as numbers, beside those along a schedule."""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import (
    EDM,
    RectifiedFlow,
    VarianceExploding,
    VPCosine,
    VPLinear,
)
from fastdiff.solvers import DDIM, KDPM2, DPMpp2M, Euler, FlowEuler, Heun, SASolver, UniPC
from fastdiff.tables.lowering import lower_path
from fastdiff.tables.path import Path
from tests.support.registered import SOLVERS, label

HOMES = [
    (VPLinear(), "eps"), (VPCosine(), "v"), (RectifiedFlow(), "flow"), (EDM(), "x0"),
    (VarianceExploding(VPLinear()), "eps"),
]  # fmt: skip
RHO = np.array([10.0, 5.0, 5.0, 2.0, 1.0, 0.5, 0.0])


def along(schedule, solver, prediction):
    """A table, its path and the same levels as numbers. Levels alone have no noisiest one, to which
    a schedule limits churn: with churn the path starts below."""
    times = grids.check_times("grid", schedule, grids.default(schedule)(schedule, 7))
    times = times[1:] if getattr(solver, "s_churn", 0) else times
    path = Path.along(schedule, times)
    table = solver.lower(schedule, prediction=prediction, grid=times)
    return table, path, [[getattr(p, name) for p in path.points] for name in ("alpha", "sigma")]


@pytest.mark.covered(times=1)
@pytest.mark.parametrize("schedule, prediction", HOMES, ids=label)
@pytest.mark.parametrize("solver", SOLVERS, ids=label)
def test_levels_alone_give_the_rows_of_the_schedule(solver, schedule, prediction):
    table, path, levels = along(schedule, solver, prediction)
    view = {"model_times": table.model_t, "input_scales": table.levels[1:-1, 3]}
    try:
        given = lower_path(solver, Path.of(*levels), prediction=prediction, **view)
    except ValueError as error:
        assert f"expected one with a schedule, which {solver!r} needs" in str(error) or (
            "a point by its time" in str(error)
        )
        again = Path.of(*levels, [p.t for p in path.points], schedule)
        assert np.array_equal(lower_path(solver, again, prediction=prediction).rows, table.rows)
        return
    finite = np.isfinite(table.rows)
    assert np.array_equal(finite, np.isfinite(given.rows))
    size = np.abs(table.rows[finite]).max()
    np.testing.assert_allclose(given.rows[finite], table.rows[finite], rtol=0, atol=1e-14 * size)
    np.testing.assert_allclose(given.levels[:, 1:3], table.levels[:, 1:3], rtol=1e-13)


def test_times_are_those_of_a_flow_or_those_given():
    path = Path.of([0, 0.5, 1], [1, 0.5, 0])
    assert [p.t for p in path.points] == [1, 0.5, 0]
    assert [p.lam for p in path.points] == [-np.inf, 0, np.inf]
    path = Path.of([0, 0.5, 1], [1, 0.5, 0], [999, 500, -1])
    assert [p.t for p in path.points] == [999, 500, -1]
    assert lower_path(FlowEuler(), path, prediction="flow").model_t.tolist() == [999, 500]


@pytest.mark.parametrize("norm", ["variance preserving", "variance exploding", "flow"])
def test_points_between_keep_the_norm_of_the_levels(norm):
    rho = np.array([4.0, 1.0, 0.25])
    size = {"variance preserving": np.hypot(1, rho), "flow": 1 + rho}.get(norm, np.ones(3))
    path = Path.of(1 / size, rho / size, [2, 1, 0])
    assert path.norm == norm
    middle = path.between(path[0], path[1], 1 / 2)
    assert middle.rho == pytest.approx(2, rel=1e-15) and middle.t == pytest.approx(1.5)
    assert Path(None, (*path.points, middle)).norm == norm


def test_levels_of_no_norm_have_no_points_between():
    path = Path.of([0.3, 0.5, 0.7], [0.9, 0.5, 0.1])
    assert lower_path(DPMpp2M(), path).nfe == 2
    with pytest.raises(ValueError, match="path: expected levels that are variance preserving"):
        path.between(path[0], path[1], 1 / 2)


@pytest.mark.parametrize(
    "solver", [DDIM(), Euler(), Heun(), DPMpp2M(), UniPC(3), SASolver(3, 3, 0.0)], ids=label
)
def test_a_level_that_is_there_twice(solver):
    """Nothing happens between, and no slope is taken of two outputs at one level."""
    path = Path.of(np.ones(len(RHO)), RHO)
    table = lower_path(solver, path, prediction="x0")
    assert np.isfinite(table.levels).all()
    coefficients = table.rows[:, 5:31]
    assert np.abs(coefficients).max() < 10
    if isinstance(solver, (DDIM, Euler, DPMpp2M)):
        assert np.count_nonzero(table.rows[2, 5:16]) == 1 and table.rows[2, 5] == 1


def test_what_the_model_is_shown():
    path = Path.of(np.ones(4), [3.0, 2.0, 1.0, 0.0])
    scales = 1 / np.sqrt(np.array([3.0, 2.0, 1.0]) ** 2 + 1)
    table = lower_path(Euler(), path, prediction="v", model_times=[9, 8, 7], input_scales=scales)
    assert table.model_t.tolist() == [9, 8, 7] and table.schedule == "given levels"
    assert table.in_scale[:3].tolist() == scales.tolist()


def test_input_scales_are_a_function_of_the_levels():
    """So they are known at the points between, too, where a solver puts evaluations."""
    solver, rho = KDPM2(), np.array([3.0, 2.0, 1.0, 0.0])
    path = Path.of(np.ones(4), rho)
    table = lower_path(
        solver, path, prediction="v", input_scales=lambda alpha, sigma: 1 / np.hypot(alpha, sigma)
    )
    visited = np.array([point.rho for point in (path[0], *(s.at for s in solver.steps(path)))])[:-1]
    assert len(visited) == 5 and np.array_equal(table.in_scale[:5], 1 / np.hypot(1, visited))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([1], [0]), r"alpha: expected shape \[N \+ 1\] with N >= 1, got \(1,\)"),
        (([1, 1], [1, 0, 0]), r"sigma: expected shape \(2,\), got \(3,\)"),
        (([1, np.nan], [1, 0]), "alpha: expected finite numbers >= 0, got nan"),
        (([1, 1], [1, -1]), "sigma: expected finite numbers >= 0, got -1"),
        (([1, 0], [1, 0]), "alpha: expected numbers > 0 where sigma is 0"),
        (([1, 1, 1], [1, 2, 1]), "sigma: expected levels whose sigma / alpha only falls or only"),
        (([1, 1], [1, 0], [1]), r"times: expected shape \(2,\), got \(1,\)"),
        (([1, 1], [1, 0], [np.inf, 0]), "times: expected finite numbers"),
        (([1, 1], [1, 0], None, EDM()), "times: expected those of the levels on the schedule"),
    ],
)
def test_levels_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Path.of(*arguments)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prediction": "flow"}, 'prediction "flow" needs a schedule, or levels with'),
        ({"prediction": "edm"}, r'prediction "edm" needs schedule EDM\(precondition=True\)'),
        ({"prediction": "noise"}, "prediction must be one of"),
        ({"model_times": [1.0]}, r"model_times: expected shape \(2,\), one for each model"),
        ({"input_scales": [[1.0]]}, r"input_scales: expected shape \(2,\), one for each model"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        lower_path(Euler(), Path.of([1, 1, 1], [2, 1, 0]), **options)


def test_a_path_is_expected():
    with pytest.raises(TypeError, match=r"path: expected a path such as Path.of\(alpha, sigma\)"):
        lower_path(Euler(), [2.0, 1.0, 0.0])
