"""Every model of the family, trained on real images, reaches what it is held to."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import family  # noqa: E402


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Of all runs: some targets compare two of them."""
    return family.measure(family.RUNS, tmp_path_factory.mktemp("runs"))[0]


@pytest.mark.slow
@pytest.mark.parametrize("target", family.TARGETS, ids=lambda t: f"{t.runs[0]}: {t.words}")
def test_it_is_reached(numbers, target):
    assert target.holds(numbers), {run: numbers[run] for run in target.runs}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "vae,vdm"], "--only: expected some of 'VAE', .*, got {'vae,vdm'}"),
        (["--only", "VAE", "--json", "found.json"], "--only: expected no --json and no --pict"),
        (["--only", "VAE", "--pictures", "."], "--only: expected no --json and no --pictures"),
    ],
)
def test_a_part_of_the_runs_is_named_and_overwrites_nothing(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        family.main(arguments)
    assert error.value.code == 2 and re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_part_of_the_runs(tmp_path, monkeypatch, capsys):
    tiny = family.Run("VAE", "vae", {"hidden": 8}, {"steps": 1, "batch": 4})
    monkeypatch.setattr(family, "RUNS", [tiny, *family.RUNS[1:]])
    monkeypatch.setattr(family, "make", lambda run, folder, exam: (None, {"bpd": 9.0}))
    monkeypatch.setattr(family, "baselines", lambda exam: {})
    monkeypatch.setattr(family, "judged", lambda numbers: [])
    assert family.main(["--only", "VAE"]) == 0
    said = capsys.readouterr().out
    assert "VAE" in said and "VDM" not in said


def test_every_target_is_about_runs_that_exist():
    known = {run.name for run in family.RUNS} | {"guidance by the classifier"}
    assert {name for target in family.TARGETS for name in target.runs} <= known
    assert len({run.name for run in family.RUNS}) == len(family.RUNS)
    assert family.RUNS[1].command == (
        "fastdiff train vae --net linear --decoder gaussian --latent 8 --steps 2500 --lr 0.01 "
        "--weight-decay 0.0"
    )
