"""The pictures of the family: samples, the terms of the bound, the learned schedule, the guidance
sweep, and trajectories on a mixture in two dimensions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from torch import Tensor

import fastdiff as fd
from fastdiff import elbo, noise
from fastdiff.models import VDM, Classifier, Member
from fastdiff.training.draw import draw

DPI = 90


def draw_all(folder: Path, models: dict[str, Member], numbers: dict, exams: dict) -> None:
    """Write family-*.png of what was trained into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"mixture": mixture()}
    generative = {n: m for n, m in models.items() if not isinstance(m, Classifier)}
    if generative:
        figures["samples"] = samples(generative)
    if "DDPM" in models:
        figures["bound"] = bound(models["DDPM"], exams["digits8"])
    if "VDM" in models:
        figures["gamma"] = gamma(models["VDM"], exams["digits8"])
    for name in [n for n in numbers if "FD at 1.5" in numbers[n]]:
        figures["guidance"] = guidance(numbers[name])
    for name, figure in figures.items():
        figure.savefig(folder / f"family-{name}.png", dpi=DPI)


def sheet(images: Tensor) -> np.ndarray:
    """[H, N W] grey values of a row of images [N, C, H, W] in [-1, 1], with gaps."""
    padded = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=1.0)
    return padded.movedim(0, 1).flatten(1).numpy()


def samples(models: dict[str, Member]) -> Figure:
    """Twelve draws of each model."""
    figure = Figure(figsize=(7, 0.62 * len(models)), layout="constrained")
    for axes, (name, model) in zip(
        np.atleast_1d(figure.subplots(len(models))), models.items(), strict=True
    ):
        options, title = {}, name
        if getattr(model, "label_dropout", 1.0) < 1:
            options = {"y": torch.arange(12) % model.space.classes, "scale": 1.5}
            title = f"{name}, scale 1.5"
        axes.imshow(sheet(draw(model, 12, seed=7, **options)), cmap="gray", vmin=-1, vmax=1)
        axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
        axes.set(xticks=[], yticks=[])
    return figure


def bound(model: Member, exam) -> Figure:
    """The bound of DDPM by timestep, for three variances."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    scale = 1 / (model.space.dims * math.log(2))
    with torch.no_grad():
        denoise = elbo.estimator(model, model.schedule, model.prediction, 1.0)
        keys = noise.keys(9, len(exam.train))
        mse = elbo.mean_squared_errors(
            denoise, exam.train.images, model.times, keys, schedule=model.schedule
        )
        for name, variance in (
            ("small", elbo.Small()),
            ("large", elbo.Large()),
            ("optimal", elbo.Optimal(mse)),
        ):
            found = model.bound(exam.x, exam.keys, variance)
            total = found.bits_per_dim(model.space.dims).mean().item()
            steps = np.arange(1, len(model.times) + 1)  # the curves differ in the first few
            axes.plot(steps, found.table() * scale, ".-", ms=4, lw=0.9,
                      label=f"{name} variance: {total:.2f} in all")  # fmt: skip
    axes.set(xlabel="timestep + 1", ylabel="bits per dimension", xscale="log", yscale="log")
    axes.legend()
    return figure


def gamma(model: VDM, exam) -> Figure:
    """The noise schedule before and after training, and what the loss then costs at each time."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    t, (low, high) = torch.linspace(0, 1, 65), model.start
    straight = low + (high - low) * t
    with torch.no_grad():
        left.plot(t, straight, "--", label="before")
        left.plot(t, model.gamma(t), label="after")
        x, scale = exam.x, 1 / (model.space.dims * math.log(2))
        cost = [model.bound(x, s.expand(len(x)), exam.keys).diffusion.mean() * scale for s in t]
    left.set(xlabel="t", ylabel="gamma = -log SNR")
    left.legend()
    right.plot(t, cost)
    right.set(xlabel="t", ylabel="diffusion loss at t, bpd", ylim=(0, None))
    return figure


def guidance(numbers: dict) -> Figure:
    """Accuracy and Frechet distance by the scale of classifier-free guidance."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    for axes, what, style in ((left, "accuracy", "C0o-"), (right, "FD", "C1s-")):
        points = {
            float(k.split(" at ")[1]): v for k, v in numbers.items() if k.startswith(f"{what} at ")
        }
        axes.plot(points.keys(), points.values(), style)
        low, high = min(points.values()), max(points.values())  # at last, of FD
        axes.set_ylabel("share of the class asked for" if what == "accuracy" else "FD",
                        color=style[:2])  # fmt: skip
    left.set(xlabel="guidance scale", ylim=(0, 1.05))
    right.set(yscale="log")
    right.yaxis.set_major_formatter(ScalarFormatter())
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_yticks([t for t in (1, 2, 5, 10, 20, 50, 100) if low / 1.3 < t < high * 1.3])
    return figure


MEANS = torch.tensor([[-2.0, -1.0], [2.0, 1.5], [1.0, -2.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
SPREAD = 0.09  # variance of each part
PATHS = 6  # that are drawn


def exact(schedule):
    """The eps network of the mixture."""

    def model(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (f(t.double())[:, None] for f in (schedule.alpha, schedule.sigma))
        v = alpha**2 * SPREAD + sigma**2
        gap = x.double()[:, None] - alpha[:, None] * MEANS
        r = torch.softmax(torch.log(WEIGHTS) - 0.5 * gap.square().sum(-1) / v, -1)
        return (sigma * (r[..., None] * gap).sum(1) / v).to(x.dtype)

    return model


def mixture() -> Figure:
    """Annealed Langevin dynamics and the probability flow on three Gaussians."""
    schedule, figure = (
        fd.schedules.VE(sigma_min=0.05, sigma_max=6.0),
        Figure(figsize=(7, 3.5), layout="constrained"),
    )
    keys = noise.keys(1, 60)
    x = 6.0 * noise.draw(keys, (2,)).double()
    grid = fd.grids.Exponential(final="min")
    solvers = {
        "annealed Langevin dynamics": (fd.solvers.AnnealedLangevin(repeats=10, denoise=False), 12),
        "probability flow": (fd.solvers.DPMpp2M(), 40),
    }
    for axes, (name, (solver, steps)) in zip(figure.subplots(1, 2), solvers.items(), strict=True):
        table = solver.lower(schedule, steps, grid=grid)
        path = [x.clone()]
        fd.sample(
            exact(schedule), x, table, seeds=keys, callback=lambda s, p=path: p.append(s.x.clone())
        )
        lines = torch.stack(path).numpy()
        # Langevin steps at each level make a tangle of a path: of it where each level ends.
        shown = lines[:: solver.repeats] if hasattr(solver, "repeats") else lines
        axes.plot(shown[:, :PATHS, 0], shown[:, :PATHS, 1], lw=0.5, alpha=0.8)
        axes.plot(*lines[-1].T, "k.", ms=3)
        axes.plot(*MEANS.T, "rx")
        axes.set(title=name, xlim=(-7, 7), ylim=(-7, 7), aspect="equal")
    return figure
