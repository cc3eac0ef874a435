"""The whole family on real images: trained here, measured, held to targets, drawn.

    python benchmarks/family.py [--json FILE] [--pictures FOLDER] [--runs FOLDER]
    python benchmarks/family.py --only VAE "VAE, MNIST" [--runs FOLDER]

Every model trains for some seconds on two CPU cores; one run each, no seeds averaged. Bits per
dimension ("bpd") are of held-out images, FD is the Frechet distance of samples to the training
images in the features of a CNN trained on them. Ends with status 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import fastdiff as fd
from fastdiff.models import Guided, Member, find
from fastdiff.training import load, load_model, preset, train
from fastdiff.training.exam import SAMPLES, Exam, baselines
from fastdiff.training.loop import CHECKPOINT
from fastdiff.training.rows import row

Numbers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Run:
    """One training: what ``fastdiff train FAMILY`` would do with these options."""

    name: str
    family: str
    model: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    @property
    def config(self):
        return preset(self.family, model=find(self.family).Config(**self.model), **self.settings)

    @property
    def command(self) -> str:
        options = {**self.model, **self.settings}
        return " ".join(
            ["fastdiff train", self.family]
            + [f"--{k.replace('_', '-')} {v}" for k, v in options.items()]
        )


RUNS = [
    Run("VAE", "vae"),
    Run("linear VAE", "vae", {"net": "linear", "decoder": "gaussian", "latent": 8},
        {"steps": 2500, "lr": 1e-2, "weight_decay": 0.0}),
    Run("HVAE", "hvae"),
    Run("VDM", "vdm"),
    Run("VDM, eps head", "vdm", {"head": "eps"}),
    Run("DDPM", "ddpm"),
    Run("DDPM, learned variance", "ddpm", {"variance": "learned"}),
    Run("NCSN", "ncsn"),
    Run("VP SDE", "sde"),
    Run("class-conditional VP SDE", "sde", {"label_dropout": 0.15}),
    Run("classifier", "classifier"),
    Run("VAE, MNIST", "vae", {"decoder": "bernoulli", "dropout": 0.0},
        {"data": "mnist5k", "steps": 1200, "lr": 3e-3}),
]  # fmt: skip

CFG = "class-conditional VP SDE"


@dataclass(frozen=True)
class Target:
    """A statement about the numbers of one or more runs."""

    runs: tuple[str, ...]
    words: str
    holds: Callable[[Numbers], bool]


def scales(r: Numbers, what: str) -> dict[float, float]:
    """A quantity of the guidance sweep by scale."""
    prefix = f"{what} at "
    return {float(k.removeprefix(prefix)): v for k, v in r[CFG].items() if k.startswith(prefix)}


def beats_wiener(r: Numbers) -> bool:
    levels = [k.removeprefix("MSE at ") for k in r["NCSN"] if k.startswith("MSE at ")]
    return all(
        r["NCSN"][f"MSE at {s}"] < r["NCSN"][f"Wiener at {s}"] for s in levels if float(s) <= 1
    )


def best_scale(r: Numbers) -> float:
    distances = scales(r, "FD")
    return min(distances, key=distances.get)


TARGETS = [
    Target(("VAE",), "bpd < 2.25", lambda r: r["VAE"]["bpd"] < 2.25),
    Target(("VAE",), "IWAE <= ELBO, of other samples",
           lambda r: r["VAE"]["IWAE64 bpd"] <= r["VAE"]["bpd"]),
    Target(("linear VAE",), "train ELBO within 0.15 nats of probabilistic PCA",
           lambda r: 0 <= r["linear VAE"]["train nats"] - r["linear VAE"]["pPCA nats"] + 0.05
           and r["linear VAE"]["train nats"] - r["linear VAE"]["pPCA nats"] < 0.15),
    Target(("HVAE",), "bpd < 2.30", lambda r: r["HVAE"]["bpd"] < 2.30),
    Target(("HVAE",), "live top level: KL_2 > 0.02 bpd", lambda r: r["HVAE"]["KL_2 bpd"] > 0.02),
    Target(("VDM",), "bpd < 2.15", lambda r: r["VDM"]["bpd"] < 2.15),
    Target(("VDM, eps head",), "bpd < 3.3", lambda r: r["VDM, eps head"]["bpd"] < 3.3),
    Target(("VDM", "VAE"), "better than the VAE", lambda r: r["VDM"]["bpd"] < r["VAE"]["bpd"]),
    Target(("DDPM",), "bound: small > large > optimal variance, optimal < 3.1 bpd",
           lambda r: r["DDPM"]["small bpd"] > r["DDPM"]["large bpd"] > r["DDPM"]["optimal bpd"]
           and r["DDPM"]["optimal bpd"] < 3.1),
    Target(("DDPM, learned variance",), "learned <= optimal isotropic variance",
           lambda r: r["DDPM, learned variance"]["learned bpd"]
           <= r["DDPM, learned variance"]["optimal bpd"]),
    Target(("VP SDE",), "probability flow: below the Gaussian's bpd",
           lambda r: r["VP SDE"]["bpd"] < r["baselines"]["gaussian bpd"]),
    Target(("VP SDE",), "Hutchinson within 5 standard errors of the exact trace",
           lambda r: abs(r["VP SDE"]["Hutchinson - exact"]) < 5 * r["VP SDE"]["its error"]),
    Target(("NCSN",), "beats the best linear denoiser at every sigma <= 1", beats_wiener),
    Target(("NCSN",), "FD falls with the length of annealed Langevin dynamics",
           lambda r: r["NCSN"]["FD at T=2"] > r["NCSN"]["FD at T=5"] > r["NCSN"]["FD at T=20"]),
    Target((CFG,), "scale 0 is chance, 0.05 to 0.16",
           lambda r: 0.05 < scales(r, "accuracy")[0] < 0.16),
    Target((CFG,), "accuracy > 0.85 at scale 1, more at 1.5",
           lambda r: 0.85 < scales(r, "accuracy")[1] < scales(r, "accuracy")[1.5]),
    Target((CFG,), "FD is U-shaped: best scale in [1.25, 2.5], FD(5) > 2 FD(best)",
           lambda r: 1.25 <= best_scale(r) <= 2.5
           and scales(r, "FD")[5] > 2 * scales(r, "FD")[best_scale(r)]),
    Target((CFG,), "within-class standard deviation is larger at scale 8 than at 1",
           lambda r: scales(r, "class std")[8] > scales(r, "class std")[1]),
    Target((CFG,), "five steps: FD of DPM-Solver++(2M) below that of DDIM",
           lambda r: r[CFG]["2M(5) FD"] < r[CFG]["DDIM(5) FD"]),
    Target(("guidance by the classifier",), "more of the class than without: accuracy > 0.5",
           lambda r: r["guidance by the classifier"]["accuracy at 2"] > 0.5),
    Target(("VAE, MNIST",), "-ELBO < 115 nats", lambda r: r["VAE, MNIST"]["nats"] < 115),
]  # fmt: skip


def make(run: Run, folder: Path, exam: Exam) -> tuple[Member, dict]:
    """Train (or take up a finished run of the folder) and measure."""
    start = time.perf_counter()
    begun = (folder / run.name / CHECKPOINT).exists()
    train(run.config, exam.train, exam.test, folder / run.name, resume=begun)
    trained = time.perf_counter() - start
    model, config, _ = load_model(folder / run.name)
    numbers = row(model, config, exam)
    return model, numbers | {"steps": config.steps, "seconds": trained, "command": run.command}


def classifier_guidance(denoiser: Member, classifier: Member, exam: Exam) -> dict[str, float]:
    """The unconditional model, guided by the classifier: accuracy and FD by scale."""
    labels, result = torch.arange(SAMPLES // 2) % exam.train.classes, {}
    keys = fd.noise.keys(30_000, len(labels))
    table = fd.solvers.DPMpp2M().lower(denoiser.schedule, 20, prediction=denoiser.prediction)
    x = fd.noise.draw(keys, denoiser.space.shape)
    for scale in (0.0, 1.0, 2.0, 4.0):
        guided = Guided(denoiser, classifier, scale)
        images = fd.sample(guided, x, table, seeds=keys, cond={"y": labels}).clamp(-1, 1)
        right = exam.judge.classify(images) == labels
        result[f"accuracy at {scale:g}"] = right.double().mean().item()
        result[f"FD at {scale:g}"] = exam.distance(images)
    return result


def measure(runs: list[Run], folder: Path) -> tuple[Numbers, dict[str, Member], dict[str, Exam]]:
    """The numbers of the runs and of what is made of them, the models, and the data they saw."""
    exams, numbers, models = {}, {}, {}
    for run in runs:
        data = run.config.data
        exams.setdefault(data, Exam(*load(data)))
        models[run.name], numbers[run.name] = make(run, folder, exams[data])
    if "digits8" in exams:
        numbers["baselines"] = baselines(exams["digits8"])
    if {"VP SDE", "classifier"} <= models.keys():
        numbers["guidance by the classifier"] = classifier_guidance(
            models["VP SDE"], models["classifier"], exams["digits8"]
        )
    return numbers, models, exams


def judged(numbers: Numbers) -> list[dict]:
    """The targets whose runs were made, and whether they hold."""
    return [
        {"runs": list(t.runs), "target": t.words, "holds": bool(t.holds(numbers))}
        for t in TARGETS
        if set(t.runs) <= numbers.keys() and ("VP SDE" not in t.runs or "baselines" in numbers)
    ]


def show(numbers: Numbers, targets: list[dict], console: Console) -> None:
    table = Table("model", "numbers", title="the family on real images", show_lines=True)
    for name, values in numbers.items():
        words = [f"{k} {v:.4g}" for k, v in values.items() if isinstance(v, (int, float))]
        table.add_row(name, "   ".join(words))
    console.print(table)
    bars = Table("model", "target", "holds")
    for t in targets:
        bars.add_row(", ".join(t["runs"]), t["target"], "yes" if t["holds"] else "NO")
    console.print(bars)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="RUN", help="some of the runs, by name")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    parser.add_argument("--runs", type=Path, help="folder of the runs; kept, finished ones reused")
    args = parser.parse_args(arguments)
    names = [run.name for run in RUNS]
    if unknown := set(args.only or ()) - set(names):
        parser.error(f"--only: expected some of {', '.join(map(repr, names))}, got {unknown}")
    if args.only and (args.json or args.pictures):
        parser.error("--only: expected no --json and no --pictures, which are of all runs")
    runs = [run for run in RUNS if run.name in (args.only or names)]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        numbers, models, exams = measure(runs, args.runs or Path(scratch))
    targets = judged(numbers)
    show(numbers, targets, Console(width=150))
    if args.pictures:
        from family_pictures import draw_all

        draw_all(args.pictures, models, numbers, exams)
    spent = time.perf_counter() - start
    print(f"{spent:.0f} s in all")
    if args.json:
        from report import machine

        found = {"machine": machine(), "seconds": spent, "numbers": numbers, "targets": targets}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(t["holds"] for t in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
