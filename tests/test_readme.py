"""The README: its code runs, its links lead somewhere, its tables are those of the results."""

import re
import sys
from pathlib import Path

import pytest

from tests.support import pages

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import readme_tables  # noqa: E402

README = (ROOT / "README.md").read_text()


def test_the_loop_and_the_call_draw_the_same_digits():
    call, loop, accelerate = pages.snippets(README)
    assert "accelerate(pipe)" in accelerate
    names = {}
    exec(compile(call, "README.md, call", "exec"), names)
    assert names["images"].shape == (10, 1, 32, 32)
    guided = names["images"]
    exec(compile(loop, "README.md, loop", "exec"), names)
    assert names["images"].shape == guided.shape and names["images"].isfinite().all()
    assert 0.1 < names["images"].std() < 1


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text()
    paths = set(re.findall(r"`([\w./]+/[\w./]*)`", text)) - {"fastdiff/solvers/NAME.py"}
    assert len(paths) > 8
    places = ("", "fastdiff/", "csrc/")
    assert not [p for p in paths if not any((ROOT / place / p).exists() for place in places)]


def test_links_lead_somewhere():
    paths = [p for p in re.findall(r"\]\(([^)#]+)", README) if not p.startswith("http")]
    assert len(paths) > 8
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_tables_are_those_of_the_results():
    assert readme_tables.write(README) == README


def test_a_page_without_the_place_of_its_tables_is_refused():
    with pytest.raises(ValueError, match="page: expected <!-- quality -->"):
        readme_tables.write("no tables")
