"""The page of the solvers is the registry's."""

from pathlib import Path

import pytest

from fastdiff import solvers
from tests.host import solver_table
from tests.host.solver_table import head, line

PAGE = (Path(__file__).parents[2] / "docs" / "solvers.md").read_text().splitlines()
HEAD = head().splitlines()
#: The lines by the names of their solvers, "| `DDIM` | 1 | ..."
LINES = {line.split("`")[1]: line for line in PAGE[len(HEAD) :]}
HINT = "run `python -m tests.host.solver_table > docs/solvers.md`"


def test_the_page_is_its_head_and_lines_of_solvers():
    assert PAGE[: len(HEAD)] == HEAD
    assert list(LINES) == sorted(LINES) and len(LINES) == len(PAGE) - len(HEAD), HINT
    assert not LINES.keys() - set(solvers.names()), HINT


#: The measured order takes most of the time: in the quick run of every fifth.
MEASURED = [
    pytest.param(name, marks=[pytest.mark.slow] * (k % 5 > 0))
    for k, name in enumerate(solvers.names())
]


@pytest.mark.parametrize("name", MEASURED)
def test_every_line_is_current(name):
    """Redone, the measured order included."""
    assert LINES[name] == line(name), HINT


@pytest.mark.parametrize("name", solvers.names())
def test_what_is_declared_is_current(name, monkeypatch):
    assert name in LINES, f"docs/solvers.md has no line of {name}: {HINT}"
    monkeypatch.setattr(solver_table, "measured", lambda solver: "")
    found, declared = LINES[name].split("|"), line(name).split("|")
    assert found[:4] + found[5:] == declared[:4] + declared[5:], HINT
