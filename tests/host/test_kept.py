"""Tables that are found again: the same values give the same table, all else is lowered anew."""

from dataclasses import replace

import numpy as np
import pytest

from fastdiff import grids, schedules, solvers
from fastdiff.tables import kept
from fastdiff.tables.kept import key_of
from tests.support.registered import CASES, SOLVERS, label

VP = schedules.VPLinear()


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(kept, "_tables", type(kept._tables)())


@pytest.mark.parametrize("solver", SOLVERS, ids=label)
def test_found_again_and_equal_to_one_made_anew(solver):
    for schedule, prediction in CASES[SOLVERS.index(solver) % 20 :: 20]:
        first = solver.lower(schedule, 4, prediction=prediction)
        again = replace(solver).lower(schedule, 4, prediction=prediction)
        kept._tables.clear()
        anew = solver.lower(schedule, 4, prediction=prediction)
        assert again == first == anew and anew is not first
        assert (again is first) == _has_value(solver, schedule)


def _has_value(*values):
    try:
        return bool([key_of(value) for value in values])
    except TypeError:
        return False


@pytest.mark.parametrize(
    "other",
    [
        lambda: solvers.DDIM(0.5).lower(VP, 5), lambda: solvers.DDIM().lower(VP, 6),
        lambda: solvers.DDIM(-0.0).lower(VP, 5), lambda: solvers.DDIM(0).lower(VP, 5),
        lambda: solvers.DDIM().lower(schedules.VPLinear(0.2), 5),
        lambda: solvers.DDIM().lower(VP, 5, prediction="v"),
        lambda: solvers.DDIM().lower(VP, 5, clip=1.0),
        lambda: solvers.DDIM().lower(VP, 5, grid=grids.Uniform(end=0.01)),
        lambda: solvers.DDIM().lower(VP, grid=[1.0, 0.8, 0.5, 0.4, 0.3, 0.0]),
        lambda: solvers.DDIM().lower(VP, True + 4, grid=np.linspace(1, 0, 6) ** 2),
    ],
)  # fmt: skip
def test_other_values_are_other_tables(other):
    assert other() is not solvers.DDIM().lower(VP, 5)
    assert other() is other()


def test_an_array_that_changes_is_another_value():
    times = np.linspace(1, 0, 6)
    first = solvers.DDIM().lower(VP, grid=times)
    times[2] = 0.55
    assert not np.array_equal(solvers.DDIM().lower(VP, grid=times).t, first.t)


def test_what_has_no_value_is_lowered_each_time():
    slope = [14.0]
    schedule = schedules.LogSNR(lambda t: -10 + slope[0] * t)
    first = solvers.DDIM().lower(schedule, 4)
    slope[0] = 12.0  # as training does to a learned schedule
    assert not np.array_equal(solvers.DDIM().lower(schedule, 4).sigma, first.sigma)

    with pytest.raises(TypeError, match="expected numbers, text or a frozen dataclass, got"):
        key_of({})


def test_errors_are_raised_each_time():
    for _ in range(2):
        with pytest.raises(ValueError, match="steps"):
            solvers.DDIM().lower(VP, 0)
    assert not kept._tables


def test_the_oldest_make_room():
    for steps in range(1, kept.MOST + 4):
        solvers.DDIM().lower(VP, steps)
    assert len(kept._tables) == kept.MOST
    long = solvers.DDIM().lower(VP, kept.ROWS)
    assert solvers.DDIM().lower(VP, kept.ROWS) is not long
