"""The page of the solvers is the registry's."""

import re
from pathlib import Path

from solver_table import line

from fastdiff import solvers

PAGE = Path(__file__).parents[2] / "docs" / "solvers.md"


def test_every_solver_has_its_line():
    assert re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.M) == list(solvers.names())


def test_the_lines_are_current():
    """Redone for a few, measured orders included."""
    page = PAGE.read_text().splitlines()
    for name in ("DDIM", "DPMpp2M", "DPMpp2MSDE", "UniPC", "Heun"):
        assert line(name) in page, f"{name}: run `python tests/host/solver_table.py`"
