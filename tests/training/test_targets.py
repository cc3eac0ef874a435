"""Every model of the family, trained on real images, reaches what it is held to."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import family  # noqa: E402

from fastdiff.training import load  # noqa: E402
from fastdiff.training.exam import Exam, baselines  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("run", family.RUNS, ids=lambda run: run.name)
def test_it_reaches_its_targets(tmp_path, run):
    exam = Exam(*load(run.config.data))
    _, found = family.make(run, tmp_path, exam)
    numbers = {run.name: found, "baselines": baselines(exam)}
    missed = [t["target"] for t in family.judged(numbers) if not t["holds"]]
    assert not missed, found


def test_every_target_is_about_runs_that_exist():
    known = {run.name for run in family.RUNS} | {"guidance by the classifier"}
    assert {name for target in family.TARGETS for name in target.runs} <= known
    assert len({run.name for run in family.RUNS}) == len(family.RUNS)
    assert family.RUNS[1].command == (
        "fastdiff train vae --net linear --decoder gaussian --latent 8 --steps 2500 --lr 0.01 "
        "--weight-decay 0.0"
    )
