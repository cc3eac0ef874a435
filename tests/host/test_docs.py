"""The page of the solvers is the registry's."""

from pathlib import Path

import pytest

from fastdiff import solvers
from tests.host.solver_table import head, line

PAGE = (Path(__file__).parents[2] / "docs" / "solvers.md").read_text().splitlines()
HEAD = head().splitlines()


def test_the_page_is_its_head_and_a_line_of_each_solver():
    assert PAGE[: len(HEAD)] == HEAD and len(PAGE) == len(HEAD) + len(solvers.names())


@pytest.mark.parametrize("name", solvers.names())
def test_every_line_is_current(name):
    """Redone, the measured order included."""
    assert PAGE[len(HEAD) + solvers.names().index(name)] == line(name), (
        "run `python -m tests.host.solver_table > docs/solvers.md`"
    )
