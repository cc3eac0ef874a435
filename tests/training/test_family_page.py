"""docs/family.md: every snippet runs, every command exists, the tables are those of the results."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
import typer

import fastdiff as fd
from fastdiff.cli.app import app
from tests.support import pages

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import family  # noqa: E402
import family_page  # noqa: E402

PAGE = pages.read("family.md")
SECTIONS = pages.sections(PAGE)
(SETTING,) = pages.snippets(PAGE, "setting")
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "family-cpu.json").read_text())
COMMANDS = re.findall(r"^    (fastdiff .+)$", PAGE, re.M)
SNIPPETS = [(title, code) for title, text in SECTIONS.items() for code in pages.snippets(text)]


def test_it_walks_through_the_whole_family():
    assert pages.contents(PAGE) == pages.anchors(PAGE)
    trained = {shlex.split(command)[2] for command in COMMANDS if " train " in command}
    assert trained == set(fd.models.FAMILY)
    assert not pages.missing_files(PAGE)


@pytest.mark.parametrize("title,code", SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_every_snippet_runs(title, code):
    names = {}
    exec(compile(SETTING, "family.md, setting", "exec"), names)
    exec(compile(code, f"family.md, {title}", "exec"), names)
    for name in ("images", "x_T"):
        assert name not in names or names[name].isfinite().all()


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line):
    _, *words = shlex.split(line)
    command = typer.main.get_command(app)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("fastdiff", words)  # raises on an option or a value that does not exist


def test_every_name_exists():
    names = set(re.findall(r"`fastdiff\.([\w.]+)`", PAGE))
    assert len(names) > 15
    for name in names:
        *path, last = name.split(".")
        assert hasattr(importlib.import_module(".".join(["fastdiff", *path])), last), name


def test_the_tables_are_those_of_the_results():
    assert family_page.write(RESULTS, PAGE) == PAGE
    assert [t["target"] for t in RESULTS["targets"]] == [t.words for t in family.TARGETS]
    assert RESULTS["targets"] == family.judged(RESULTS["numbers"])
    assert all(t["holds"] for t in RESULTS["targets"])
    commands = {run.name: run.command for run in family.RUNS}
    assert commands == {
        name: numbers["command"]
        for name, numbers in RESULTS["numbers"].items()
        if "command" in numbers
    }
    assert set(commands.values()) <= set(COMMANDS)


def test_a_page_without_the_place_of_its_tables_is_refused():
    with pytest.raises(ValueError, match="page: expected <!-- numbers -->"):
        family_page.write(RESULTS, "no tables")
