"""What the quick run keeps of a product of parameters."""

from itertools import product

import pytest

from tests.support.covering import covering

SHORT, LONG = ["a", "b", "c"], [object() for _ in range(10)]


@pytest.mark.parametrize("times", [1, 2, 3, 5])
def test_every_value_of_every_axis_is_kept_evenly(times):
    cells = [{"long": v, "short": s} for v, s in product(LONG, SHORT)]
    kept = covering(list(cells), times)
    assert len(kept) == len(LONG) * min(times, len(SHORT))
    for value in LONG:
        assert sum(cells[k]["long"] is value for k in kept) == min(times, len(SHORT))
    for value in SHORT:
        assert abs(sum(cells[k]["short"] == value for k in kept) - len(kept) / len(SHORT)) <= 1


def test_pairs_of_values_come_evenly():
    cells = [dict(zip("xyz", v, strict=True)) for v in product("abc", "de", "fg")]
    kept = [cells[k] for k in covering(list(cells), 2)]
    assert {(cell["y"], cell["z"]) for cell in kept} == set(product("de", "fg"))


def test_cells_that_are_missing():
    cells = [{"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 3, "y": 1}, {"x": 3, "y": 2}]
    assert {cells[k]["y"] for k in covering(list(cells), 1)} == {1, 2}
