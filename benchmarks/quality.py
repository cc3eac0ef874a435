"""What the samples are worth: the packaged digit model under several solvers, seen by a judge.

    python benchmarks/quality.py [--quick] [--seeds N] [--json benchmarks/results/quality-NAME.json]

The judge (``judge.py``) is a CNN trained on the real training digits; it has never seen the
diffusion model. Class agreement is the share of samples that it puts into the class they were drawn
for. The Frechet distances (FD) are between Gaussians fitted to its features. FD shrinks with the
number of samples, so read each one beside as many real digits: the rows "real", drawn from the
training split. Values are mean +- standard deviation over seeds. Not measured: speed.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from report import machine
from rich.console import Console
from rich.progress import track
from rich.table import Table

import fastdiff as fd
from fastdiff.training import Images, load_digits
from fastdiff.training.judge import Judge, frechet_distance, judge

SCALE = 2.0  # of guidance
CLASSES = 10
BATCH = 100  # samples drawn together; any other number gives the same samples


@dataclass(frozen=True)
class Digits:
    """Pictures [N, 1, 32, 32] in [-1, 1] and the classes [N] they should show."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Run:
    name: str
    solver: fd.solvers.Solver
    steps: int
    samples: int = 500
    seeds: int = 9  # at the most

    def quick(self) -> "Run":
        return Run(self.name, self.solver, min(self.steps, 100), 50 if self.steps > 100 else 100)


RUNS = [
    Run("DPM++2M", fd.solvers.DPMpp2M(), 20),
    Run("DDIM", fd.solvers.DDIM(), 20),
    Run("UniPC", fd.solvers.UniPC(), 20),
    Run("Euler ancestral", fd.solvers.EulerAncestral(), 50),
    Run("DDPM", fd.solvers.DDPM(), 1000, samples=100, seeds=1),
]


def generate(model, run: Run, seed: int) -> Digits:
    """``run.samples`` digits, the classes in turn, as pictures: clamped to [-1, 1]."""
    table = run.solver.lower(fd.schedules.VPCosine(), run.steps, prediction="v")
    labels = torch.arange(run.samples) % CLASSES
    keys = fd.noise.keys(1_000_000 * (seed + 1), run.samples)
    x = fd.noise.draw(keys, (1, 32, 32))  # alpha = 0: the trajectory starts at pure noise
    images = [
        fd.sample(
            model,
            x[part],
            table,
            seeds=keys[part],
            guidance=fd.guidance.CFG(SCALE),
            cond={"y": labels[part]},
            uncond={"y": torch.full_like(labels[part], CLASSES)},
        )
        for part in torch.arange(run.samples).split(BATCH)
    ]
    return Digits(torch.cat(images).clamp(-1, 1), labels)


def real(train: Images, samples: int, seed: int) -> Digits:
    """As many real digits, the classes balanced."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(train.labels == label), samples // CLASSES, replace=False)
        for label in range(CLASSES)
    ]
    rows = torch.from_numpy(np.concatenate(chosen))
    return Digits(train.values(rows), train.labels[rows])


class Examiner:
    """Marks sets of digits against the features of the real ones."""

    def __init__(self, judge: Judge, train: Images, test: Images):
        self.judge = judge
        self.train, self.test = judge.features(train.images), judge.features(test.images)

    def marks(self, digits: Digits) -> dict[str, float]:
        features = self.judge.features(digits.images)
        right = self.judge.classify(digits.images) == digits.labels
        return {
            "agreement": float(right.double().mean()),
            "FD to test": frechet_distance(features, self.test),
            "FD to train": frechet_distance(features, self.train),
        }


def record(name: str, steps: int | None, samples: int, marks: list[dict]) -> dict:
    """Mean and standard deviation of the marks over seeds."""
    columns = {key: np.array([m[key] for m in marks]) for key in marks[0]}
    spread = len(marks) > 1
    return {"name": name, "steps": steps, "samples": samples, "seeds": len(marks)} | {
        key: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)) if spread else None}
        for key, v in columns.items()
    }


def show(records: list[dict], facts: dict, console: Console) -> None:
    table = Table(
        title=f"digits, v-prediction, VPCosine, CFG({SCALE:g})",
        caption=f"judge: {facts['judge accuracy']:.1%} on the real test split; "
        f"FD of the whole splits, train to test: {facts['FD train to test']:.2f}",
    )
    for column in ("", "steps", "samples", "agreement", "FD to test", "FD to train"):
        table.add_column(column, justify="left" if column == "" else "right")
    for r in records:
        marks = [_pm(r["agreement"], 100, "%"), _pm(r["FD to test"]), _pm(r["FD to train"])]
        table.add_row(r["name"], str(r["steps"] or ""), str(r["samples"]), *marks)
    console.print(table)


def _pm(value: dict, factor: float = 1.0, unit: str = "") -> str:
    spread = "" if value["sd"] is None else f" +- {factor * value['sd']:.2f}"
    return f"{factor * value['mean']:.2f}{spread} {unit}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few samples, DDPM in 100 steps")
    parser.add_argument("--seeds", type=int, help="default 3, quick 1")
    parser.add_argument("--weights", type=Path, help="a model file; default: the packaged one")
    parser.add_argument("--judge", type=Path, help="where the judge's weights are kept")
    parser.add_argument("--only", help="names of the runs, with commas; default: all")
    parser.add_argument("--json", type=Path, help="where to write the marks")
    args = parser.parse_args()
    seeds = range(args.seeds or (1 if args.quick else 3))
    wanted = args.only.split(",") if args.only else [run.name for run in RUNS]
    runs = [run.quick() if args.quick else run for run in RUNS if run.name in wanted]
    train, test = load_digits()
    trained = judge(train, test, seed=0, cache=args.judge)
    model = fd.models.load(args.weights)[0] if args.weights else fd.models.digits()
    examiner = Examiner(trained, train, test)
    facts = {
        "judge accuracy": trained.test_accuracy,
        "FD train to test": frechet_distance(examiner.train, examiner.test),
        "scale": SCALE,
    }
    records = []
    for samples in sorted({run.samples for run in runs}):
        marks = [examiner.marks(real(train, samples, seed)) for seed in seeds]
        records.append(record("real", None, samples, marks))
    console = Console(width=None if os.isatty(1) else 110)
    for run in runs:
        drawn = track(
            seeds[: run.seeds], run.name, console=console, disable=not console.is_terminal
        )
        marks = [examiner.marks(generate(model, run, seed)) for seed in drawn]
        records.append(record(run.name, run.steps, run.samples, marks))
    show(records, facts, console)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": machine(), "facts": facts, "records": records}
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
