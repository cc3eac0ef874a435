"""benchmarks/gpu_check.py without a GPU: its stages here are commands of the shell."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.helpers import run_python

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from gpu_check import BUDGET, Stage, collect, execute, run, stages, table  # noqa: E402
from gpu_machine import tool  # noqa: E402


def shell(name, command, limit=20.0, **options):
    return Stage(name, ["bash", "-c", command], limit, **options)


def test_a_bad_stage_does_not_stop_the_others(tmp_path):
    outcomes = run(
        [
            shell("good", "echo first; echo $WORD", environment={"WORD": "last"}),
            shell("bad", "echo broken; exit 3"),
            shell("all skipped", "echo 5 skipped", proof=r"\d+ passed"),
            shell("absent", "exit 1", missing="there is no such tool"),
            Stage("no such program", [str(tmp_path / "none")], 5.0),
            shell("sweep", "echo begin; echo '{\"words\": 3}'"),
        ],
        30,
        tmp_path / "log",
    )
    assert [o.status for o in outcomes] == [
        "passed", "failed", "failed", "skipped", "failed", "passed",
    ]  # fmt: skip
    assert [o.bad for o in outcomes] == [False, True, True, False, True, False]
    assert outcomes[0].summary == "last"
    assert "broken" in (tmp_path / "log").read_text()
    assert len(table(outcomes).splitlines()) == len(outcomes)
    assert collect(outcomes, {"device": "x"})["sweep"] == {"words": 3}


def test_no_stage_outlives_the_budget(tmp_path):
    outcomes = run([shell("long", "sleep 60"), shell("next", "true")], 0.5, tmp_path / "log")
    assert [o.status for o in outcomes] == ["timed out", "not run"]
    assert all(o.bad for o in outcomes)


def test_a_stage_has_its_own_time_and_what_was_left_over(tmp_path):
    begin = time.monotonic()
    hanging = "echo begun; sleep 60 & sleep 60"
    bad, good = shell("hangs", hanging, limit=0.5), shell("next", "true")
    outcomes = run([bad, good], 30, tmp_path / "log")
    assert time.monotonic() - begin < 20, "the children of a stage die with it"
    assert [o.status for o in outcomes] == ["timed out", "passed"]
    assert "begun" in outcomes[0].summary
    outcomes = run([good, shell("long", "sleep 1", limit=0.1)], 30, tmp_path / "log")
    assert [o.status for o in outcomes] == ["passed", "passed"]


def test_every_stage_has_its_time_within_the_budget():
    planned = stages("9.0", None)
    assert sum(stage.limit for stage in planned) <= BUDGET
    names = [stage.name for stage in planned]
    assert names[-1] == "benchmarks"
    assert names.index("tests/gpu") < names.index("memcheck") < names.index("racecheck")


def test_what_the_benchmarks_leave_out_is_said():
    """Without diffusers there is nothing to stand beside: the figures say so."""
    script = f"""
import importlib.util, sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "diffusers" else find(name, *rest)
import gpu
print(gpu.LEFT_OUT, len(gpu.PEERS))
"""
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("diffusers is not installed 2\n")


def test_a_dry_run_names_every_stage(tmp_path):
    options = ["--dry-run", "--commit", "abc", "--results", tmp_path, "--log", tmp_path / "log"]
    done = run_python(ROOT / "benchmarks" / "gpu_check.py", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("gpu-*.json")
    written = json.loads(file.read_text())
    assert written["machine"]["commit"] == "abc"
    assert {s["name"] for s in written["stages"]} >= {
        "build", "tests/gpu", "tests/triton_ops", "memcheck", "racecheck", "sweep", "benchmarks",
    }  # fmt: skip
    assert "setup.py" in (tmp_path / "log").read_text()
    assert len(done.stdout.splitlines()) > len(written["stages"])


@pytest.mark.skipif(tool("nvcc") is None, reason="needs nvcc")
def test_the_sweep_compiles():
    """And says what is wrong where there is no device."""
    compiling, sweep = (s for s in stages("9.0", None) if s.name.startswith("sweep"))
    Path(sweep.command[0]).parent.mkdir(parents=True, exist_ok=True)
    outcome = execute(compiling, 100)
    assert outcome.status == "passed", outcome.output
    if not torch.cuda.is_available():
        outcome = execute(sweep, 100)
        assert outcome.status == "failed" and "error" in json.loads(outcome.output)
