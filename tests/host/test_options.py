"""What the options of the exponential and linear multistep solvers do, and what they refuse."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest

from fastdiff import grids, solvers
from fastdiff.row import COLUMN
from fastdiff.schedules import DiscreteBetas, RectifiedFlow, VPLinear
from fastdiff.tables import check
from fastdiff.tables.path import Path
from tests.host.interpreter import run
from tests.host.problems import Mixture
from tests.support.registered import INVERSES, SOLVERS, label

NOISE = [COLUMN[name] for name in ("c_z", "c_zp", "d_z")]


@pytest.mark.parametrize("solver", SOLVERS, ids=label)
def test_identities_hold_to_twelve_digits(monkeypatch, solver):
    """At moderate noise; elsewhere the check allows 1e-9."""
    if solver.exact_on_point_mass == "none":
        pytest.skip("has none")
    monkeypatch.setattr(check, "TOLERANCE", 1e-12)
    solver.lower(Mixture.schedule, 12, grid=grids.Uniform())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (solvers.DPMpp2MSDE, {}),
        (solvers.DPMpp3MSDE, {"eta": 0.4}),
        (solvers.DPMSolver, {"eta": 1}),
        (solvers.DEIS, {"eta": 0.5}),
        (solvers.DPMSolverSinglestep, {"eta": 1}),
        (solvers.DPMpp2S, {"eta": 0.7}),
        (solvers.DPMppSDE, {}),
        (solvers.DPMFast, {"eta": 1}),
    ],
    ids=label,
)
def test_s_noise_scales_the_noise_and_nothing_else(kind, options):
    one = kind(**options).lower(VPLinear(), 7).rows
    more = kind(s_noise=1.25, **options).lower(VPLinear(), 7).rows
    assert kind(s_noise=1.25, **options).exact_on_point_mass == "drift"
    assert one[:, NOISE].any()
    np.testing.assert_allclose(more[:, NOISE], 1.25 * one[:, NOISE], rtol=1e-12)
    rest = np.delete(np.arange(one.shape[1]), NOISE)
    np.testing.assert_array_equal(more[:, rest], one[:, rest])
    quiet = kind(s_noise=0, **options)
    assert not quiet.stochastic and not quiet.lower(VPLinear(), 7).stochastic


def options():
    """Every option of every solver, with instances that have it, quiet and noisy ones."""
    for name in solvers.names():
        known = {option.name for option in fields(solvers.get(name))}
        instances = [solver for solver in SOLVERS + INVERSES if type(solver).__name__ == name]
        noisy = {"eta": 0.5, "s_churn": 20.0}
        for solver in instances[:]:
            for noise in sorted(noisy.keys() & known - ({"eta"} if solver in INVERSES else set())):
                instances.append(replace(solver, **{noise: noisy[noise]}))
        for option in sorted(known):
            yield pytest.param(option, instances, id=f"{name}.{option}")


def others(solver, option):
    """The solver with other values of an option, of its type or among those that it asks for."""
    value = getattr(solver, option)
    values = [0.0, 0.3, 0.5, 1.0, 2, 3, 4, not value, (0, 1), (0.2, 0.5), solvers.Heun()]
    if isinstance(value, str):
        with pytest.raises(ValueError) as refusal:
            replace(solver, **{option: "?"})
        values += re.findall(r"[\"'](\w+)[\"']", str(refusal.value))
    for other in values:
        try:
            yield replace(solver, **{option: other})
        except (TypeError, ValueError):
            continue


@pytest.mark.parametrize(("option", "instances"), list(options()))
def test_every_option_does_something(option, instances):
    """An option that is inherited and ignored changes no row; one of a single value does no harm,
    as long as it refuses the others."""

    def rows(solver):
        for schedule, clip in ((VPLinear(), None), (VPLinear(), 1.0), (Mixture.schedule, None)):
            grid = grids.Uniform()
            yield solver.lower(schedule, 12, clip=clip, grid=grid).rows.tobytes()

    changed = [(solver, other) for solver in instances for other in others(solver, option)]
    changed = [(solver, other) for solver, other in changed if solver != other]
    assert not changed or any(list(rows(a)) != list(rows(b)) for a, b in changed)


@pytest.mark.parametrize("solver", SOLVERS, ids=label)
def test_numbers_of_numpy_are_numbers(solver):
    """The same solver, with the same name in its tables."""
    wide = {int: np.int64, float: np.float64}
    values = {f.name: getattr(solver, f.name) for f in fields(solver)}
    numbers = {k: wide[type(v)](v) for k, v in values.items() if type(v) in wide}
    again = replace(solver, **numbers)
    assert again == solver and repr(again) == repr(solver)
    single = {k: np.float32(v) for k, v in values.items() if type(v) is float}
    assert "np." not in repr(replace(solver, **single).lower(VPLinear(), 3).solver)


@pytest.mark.parametrize(
    ("solver", "steps", "sizes"),
    [
        (solvers.DPMSolverSinglestep(1), 3, [1, 1, 1]),
        (solvers.DPMSolverSinglestep(2), 4, [2, 2]),
        (solvers.DPMSolverSinglestep(2), 5, [2, 2, 1]),
        (solvers.DPMSolverSinglestep(2, lower_order_final=True), 4, [2, 1, 1]),
        (solvers.DPMSolverSinglestep(3), 6, [3, 3]),
        (solvers.DPMSolverSinglestep(3), 7, [3, 3, 1]),
        (solvers.DPMSolverSinglestep(3), 8, [3, 3, 2]),
        (solvers.DPMSolverSinglestep(3, lower_order_final=True), 6, [3, 2, 1]),
        (solvers.DPMSolverSinglestep(3, lower_order_final=True), 8, [3, 3, 2]),
        (solvers.DPMSolverSinglestep(3), 1, [1]),
    ],
    ids=label,
)
def test_orders_of_single_steps(solver, steps, sizes):
    """The same on the way to clean data, where the last interval is one of its own; and on the way
    from pure noise, where the first is."""

    def path(schedule, grid):
        times = grid(schedule, steps)
        return Path.along(schedule, times)

    schedule = DiscreteBetas.linear(100)
    assert solver.sizes(path(schedule, grids.Uniform(end=5))) == sizes
    clean = solver.sizes(path(schedule, grids.Uniform()))
    last = [sizes[-1] - 1, 1] if sizes[-1] > 1 else sizes[-1:]
    assert clean == sizes[:-1] + last
    noisy = solver.sizes(path(schedule.zero_terminal(), grids.Uniform(end=5)))
    assert noisy[0] == 1 and sum(noisy) == steps


INVERTIBLE = [s for s in SOLVERS if not s.stochastic]


@pytest.mark.parametrize("solver", INVERTIBLE, ids=label)
def test_the_way_up_to_pure_noise(solver):
    grid = grids.Reversed(grids.Uniform(end=0.1))
    table = solver.lower(RectifiedFlow(), 8, prediction="flow", grid=grid)
    assert table.alpha[-1] == 0 and np.isfinite(table.rows[:-1, 5:]).all()


@pytest.mark.parametrize(
    "solver",
    [
        solvers.DEIS(3),
        solvers.DPMFast(2),
        solvers.DPMSolver(),
        solvers.DPMSolverSinglestep(3, "heun"),
        solvers.DPMpp3M("corrected"),
        solvers.LMS(3),
        solvers.PLMS(),
        solvers.SASolver(2, 3, 0.0),
        solvers.UniPC(2),
    ],
    ids=label,
)
def test_there_and_back(solver):
    """Towards noise and back the errors are those of the order."""
    problem = Mixture()

    def gap(steps):
        grid = grids.Uniform()
        away = solver.lower(problem.schedule, steps, grid=grids.Reversed(grid))
        back = solver.lower(problem.schedule, steps, grid=grid)
        noise, *_ = run(away.rows, problem.eps, 0.3 * problem.start)
        return np.abs(run(back.rows, problem.eps, noise)[0] - 0.3 * problem.start).max()

    assert np.log2(gap(60) / gap(120)) > solver.convergence - 0.2


def test_orders_of_dpm_fast():
    assert [solvers.DPMFast(rest).orders(4) for rest in (0, 1, 2)] == [
        [3, 3, 2, 1],
        [3, 3, 3, 1],
        [3, 3, 3, 2],
    ]
    assert [solvers.DPMFast(rest).orders(1) for rest in (0, 1, 2)] == [[1], [1], [2]]


def test_memory():
    def memory(solver):
        table = solver.lower(VPLinear(), 12)
        return table.history, table.uses_saved

    assert [memory(solvers.DEIS(p)) for p in (1, 2, 3, 4)] == [(k, False) for k in range(4)]
    assert memory(solvers.UniPC(4)) == (4, True) and memory(solvers.SASolver(4, 4)) == (3, True)
    assert memory(solvers.SASolver(4, 0)) == memory(solvers.LMS()) == (3, False)
    assert memory(solvers.PLMS("prk")) == memory(solvers.PLMS()) == (3, True)
    assert memory(solvers.DPMpp2S()) == memory(solvers.DPMppSDE()) == (0, True)


def test_evaluations():
    def nfe(solver, final="clean"):
        return solver.lower(DiscreteBetas.linear(), 10, grid=grids.Trailing(final)).nfe

    assert nfe(solvers.DPMpp2S()) == nfe(solvers.DPMppSDE()) == 19
    assert nfe(solvers.PLMS()) == 11 and nfe(solvers.PLMS("prk")) == 19
    assert nfe(solvers.UniPC(correct_final=True)) == 10
    assert nfe(solvers.UniPC(correct_final=True), "min") == 11
    assert nfe(solvers.SASolver(2, 0, correct_final=True), "min") == 10
    assert nfe(solvers.DPMSolverSinglestep(3)) == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solvers.DPMSolver(4), "DPMSolver: order must be 1, 2 or 3, got 4"),
        (lambda: solvers.DEIS(1.0), "DEIS: order must be 1, 2, 3 or 4, got 1.0"),
        (lambda: solvers.AnnealedLangevin(repeats=2.0), "repeats must be a positive integer"),
        (lambda: solvers.Euler(1, s_tmax="a"), "s_tmax must be >= s_tmin = 0.0, got 'a'"),
        (lambda: solvers.SASolver(interval=3), r"interval must be \(lo, hi\)"),
        (lambda: solvers.DPMSolver(True), "DPMSolver: order must be 1, 2 or 3, got True"),
        (lambda: solvers.DPMSolver(form="new"), 'form must be "published" or "corrected"'),
        (lambda: solvers.DPMpp3M("fixed"), 'DPMpp3M: form must be .*, got \'fixed\''),
        (lambda: solvers.DPMpp3MSDE(kind="mid"), "DPMpp3MSDE: kind must be"),
        (lambda: solvers.DPMpp2M(s_noise=-1), "DPMpp2M: s_noise must be a finite number >= 0"),
        (
            lambda: solvers.DPMSolverSinglestep(prediction_target="v"),
            'prediction_target must be "x0" or "eps"',
        ),
        (lambda: solvers.DPMSolverSinglestep(kind="taylor"), '"midpoint", "heun" or "paper"'),
        (lambda: solvers.DPMpp2SRF(eta=2), r"DPMpp2SRF: eta must be a number in \[0, 1\], got 2"),
        (lambda: solvers.DPMppSDE(0.0), r"DPMppSDE: r must be in \(0, 1\], got 0.0"),
        (lambda: solvers.DPMFast(3), "DPMFast: rest must be 0, 1 or 2, got 3"),
        (lambda: solvers.DEIS(5), "DEIS: order must be 1, 2, 3 or 4, got 5"),
        (lambda: solvers.LMS(0), "LMS: order must be 1, 2, 3, 4 or 5, got 0"),
        (lambda: solvers.IPNDM("4"), "IPNDM: order must be 1, 2, 3, 4 or 5, got '4'"),
        (lambda: solvers.LMS(final_denoise=1), "LMS: final_denoise must be True or False, got 1"),
        (lambda: solvers.PLMS("rk"), 'PLMS: warm_up must be "euler" or "prk"'),
        (lambda: solvers.UniPC(disable_corrector=(-1,)), "disable_corrector must hold numbers"),
        (lambda: solvers.SASolver(0), "predictor_order must be 1, 2, 3 or 4, got 0"),
        (lambda: solvers.SASolver(1, 5), "corrector_order must be 0, 1, 2, 3 or 4, got 5"),
        (lambda: solvers.SASolver(tau=-1), "SASolver: tau must be a finite number >= 0"),
        (lambda: solvers.SASolver(interval=(800, 200)), r"interval must be \(lo, hi\)"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
