"""One row of numbers for each member of the family, measured by an ``Exam``.

Bits per dimension ("bpd") are of the test images; FD is the Frechet distance of samples to the
training images in the features of ``judge``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fastdiff as fd
from fastdiff import elbo, noise
from fastdiff.elbo import bits_per_dim
from fastdiff.likelihood import Exact, Hutchinson, dequantise, log_likelihood
from fastdiff.models import DDPM, HVAE, NCSN, VAE, VDM, Classifier, Member, ScoreSDE
from fastdiff.sampling import RK45

from .config import TrainConfig
from .draw import draw, takes_labels
from .exam import MOST, SAMPLES, Exam

SCALES = (0.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0)


def row(
    model: Member, config: TrainConfig, exam: Exam, samples: bool = True
) -> dict[str, float | str]:
    """The numbers of a trained model, by name.

    Args:
        model: in eval mode.
        config: its run.
        exam: the data.
        samples: also judge samples.
    """
    result: dict[str, float | str] = {"family": config.family, "data": config.data}
    with torch.no_grad():
        for member, numbers in ROWS.items():
            if isinstance(model, member):
                result |= numbers(model, exam)
        if samples and exam.train.classes > 1 and not isinstance(model, Classifier | NCSN):
            y = _labels(model, exam.device)  # a model of classes is asked for all of them alike
            result["FD"] = exam.distance(draw(model, SAMPLES, seed=10_000, y=y).cpu())
    return result


def _labels(model: Member, device) -> Tensor | None:
    if not takes_labels(model):
        return None
    return (torch.arange(SAMPLES) % model.space.classes).to(device)


def _vae(model: VAE, exam: Exam) -> dict[str, float]:
    dims = model.space.dims

    def log_weights(seed: int) -> Tensor:
        shape = (64, len(exam.x), model.config.latent)
        eps = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(exam.device)
        return model.log_weights(exam.x, eps)

    # Of other samples: of the same ones no bound could be the looser one.
    nats = -log_weights(0).mean().item()
    iwae = -elbo.importance_weighted(log_weights(1)).mean().item()
    result = {"nats": nats, "IWAE64 nats": iwae}
    result["KL nats"] = model.terms(exam.x, exam.keys)[1].mean().item()
    if model.likelihood.kind != "gaussian":
        result |= {"bpd": nats / dims / math.log(2), "IWAE64 bpd": iwae / dims / math.log(2)}
    if model.config.net == "linear" and model.likelihood.kind == "gaussian":
        result |= _pca(model, exam)
    return result


def _pca(model: VAE, exam: Exam) -> dict[str, float]:
    """The bound on the training images beside its maximum, the likelihood of probabilistic PCA.
    Tipping and Bishop 1999, eqs. 4 and 8."""
    flat = exam.train.images.flatten(1).double().numpy()
    values, q = np.linalg.eigvalsh(np.cov(flat, rowvar=False, bias=True))[::-1], model.config.latent
    sigma2, dims = values[q:].mean(), len(values)
    best = np.log(values[:q]).sum() + (dims - q) * np.log(sigma2) + dims * (1 + np.log(2 * np.pi))
    x = exam.train.images.to(exam.device)
    keys = noise.keys(3, len(x), device=exam.device)
    both = (model.terms(x, noise.fold_in(keys, i)) for i in range(8))
    terms = [(first + second).mean().item() for first, second in both]
    return {"train nats": float(np.mean(terms)), "pPCA nats": float(0.5 * best)}


def _hvae(model: HVAE, exam: Exam) -> dict[str, float]:
    levels = range(len(model.config.latents))
    bounds = [
        model.bound(exam.x, [noise.fold_in(exam.keys, 100 * i + t) for t in levels])
        for i in range(8)
    ]
    scale = 1 / (model.space.dims * math.log(2))
    costs = torch.stack([torch.cat([b.consistency, b.prior[:, None]], 1) for b in bounds])
    result = {"bpd": torch.stack([b.total for b in bounds]).mean().item() * scale}
    for t, cost in enumerate(costs.mean((0, 1)).tolist()):
        result[f"KL_{t + 1} bpd"] = cost * scale
    return result


def _vdm(model: VDM, exam: Exam) -> dict[str, float]:
    count, rounds = len(exam.x), 16
    times = (torch.arange(count * rounds) + 0.5) / (count * rounds)  # stratified over all rounds
    times = times[torch.randperm(len(times), generator=torch.Generator().manual_seed(0))]
    bounds = [
        model.bound(exam.x, t.to(exam.device), noise.fold_in(exam.keys, i))
        for i, t in enumerate(times.split(count))
    ]
    scale = 1 / (model.space.dims * math.log(2))
    parts = ("reconstruction", "prior", "diffusion")
    means = {p: torch.stack([getattr(b, p) for b in bounds]).mean().item() * scale for p in parts}
    low, high = model.gamma.ends.tolist()
    result = {"bpd": sum(means.values())} | {f"{p} bpd": v for p, v in means.items()}
    return result | {"gamma_0": low, "gamma_1": high}


def _ddpm(model: DDPM, exam: Exam) -> dict[str, float]:
    denoise = elbo.estimator(model, model.schedule, model.prediction, 1.0)
    train = exam.train.values(slice(1500)).to(exam.device)
    keys = noise.keys(9, len(train), device=exam.device)
    mse = elbo.mean_squared_errors(denoise, train, model.times, keys, schedule=model.schedule)
    variances = {"small": elbo.Small(), "large": elbo.Large(), "optimal": elbo.Optimal(mse)}
    if model.config.variance == "learned":
        variances["learned"] = elbo.LearnedRange()
    dims = model.space.dims
    return {
        f"{name} bpd": model.bound(exam.x, exam.keys, variance).bits_per_dim(dims).mean().item()
        for name, variance in variances.items()
    }


def _sde(model: ScoreSDE, exam: Exam) -> dict[str, float]:
    x = dequantise(exam.x, exam.test.depth, exam.keys)
    y = None if model.label_dropout == 1 else exam.test.labels[:MOST].to(exam.device)

    def bpd(rows: slice, divergence) -> Tensor:
        found = log_likelihood(
            model, x[rows], model.schedule, prediction=model.prediction, divergence=divergence,
            solver=RK45(1e-3, 1e-3), cond={"y": None if y is None else y[rows]},
        )  # fmt: skip
        return bits_per_dim(-found.log_prob, model.space.dims, exam.width)

    every = bpd(slice(None), Hutchinson(seeds=4))
    name = "bpd" if y is None else "bpd given y"
    result = {name: every.mean().item(), "bpd error": every.std().item() / len(every) ** 0.5}
    if model.space.dims <= 64:
        some = slice(48)
        difference = every[some] - bpd(some, Exact())
        result["Hutchinson - exact"] = difference.mean().item()
        result["its error"] = difference.std().item() / len(difference) ** 0.5
    if y is not None:
        result |= _guidance(model, exam)
    return result


def _guidance(model: ScoreSDE, exam: Exam) -> dict[str, float]:
    """What classifier-free guidance does by its scale, and two solvers in five steps without."""
    result: dict[str, float] = {}
    labels = torch.arange(SAMPLES) % model.space.classes
    at: dict[str, Any] = {"seed": 20_000, "y": labels.to(exam.device)}
    for scale in SCALES:
        images = draw(model, SAMPLES, scale=scale, **at).cpu()
        right = torch.eq(exam.judge.classify(images), labels)
        result[f"accuracy at {scale:g}"] = right.double().mean().item()
        result[f"FD at {scale:g}"] = exam.distance(images)
        result[f"class std at {scale:g}"] = _spread(images, labels)
    for name, solver in (("DDIM(5)", fd.solvers.DDIM()), ("2M(5)", fd.solvers.DPMpp2M())):
        images = draw(model, SAMPLES, steps=5, solver=solver, scale=1.0, **at).cpu()
        result[f"{name} FD"] = exam.distance(images)
    return result


def _spread(images: Tensor, labels: Tensor) -> float:
    """Standard deviation of the pixels of a class, over all pixels and classes."""
    variances = [images[labels == k].var(0).mean() for k in labels.unique()]
    return torch.stack(variances).mean().sqrt().item()


def _ncsn(model: NCSN, exam: Exam) -> dict[str, float]:
    """Errors of eps at each level beside the best linear denoiser's, and FD by the length of
    annealed Langevin dynamics."""
    mean, covariance = (v.to(exam.device) for v in exam.gaussian())
    result = {}
    for i, time in enumerate(model.times):
        t = time.to(exam.device).expand(len(exam.x))
        sigma = model.schedule.sigma(t)[0]
        eps = noise.draw(noise.fold_in(exam.keys, i), model.space.shape)
        noisy = exam.x + sigma * eps
        result[f"MSE at {sigma:.3g}"] = (model(noisy, t) - eps).square().mean().item()
        flat = noisy.flatten(1).double() - mean
        eye = torch.eye(len(mean), dtype=torch.float64, device=exam.device)
        residual = sigma * torch.linalg.solve(covariance + sigma.double() ** 2 * eye, flat.T).T
        error = (residual - eps.flatten(1)).square().mean().item()
        result[f"Wiener at {sigma:.3g}"] = error
    if exam.train.classes > 1:
        for repeats in (2, 5, 20):
            images = draw(model, SAMPLES // 2, seed=10_000, repeats=repeats).cpu()
            result[f"FD at T={repeats}"] = exam.distance(images)
    return result


def _classifier(model: Classifier, exam: Exam) -> dict[str, float]:
    result, y = {}, exam.test.labels[:MOST].to(exam.device)
    for u in (0.0, 0.25, 0.5, 0.75):
        time = model.schedule.t_min + u * (model.schedule.t_max - model.schedule.t_min)
        t = torch.full((len(exam.x),), time, device=exam.device)
        alpha, sigma = (
            f(t)[:, None, None, None] for f in (model.schedule.alpha, model.schedule.sigma)
        )
        noisy = alpha * exam.x + sigma * noise.draw(exam.keys, model.space.shape)
        result[f"accuracy at t={u:g}"] = (model(noisy, t).argmax(1) == y).double().mean().item()
    return result


ROWS: dict[type, Callable[[Any, Exam], dict[str, float]]] = {
    VAE: _vae,
    HVAE: _hvae,
    VDM: _vdm,
    DDPM: _ddpm,
    ScoreSDE: _sde,
    NCSN: _ncsn,
    Classifier: _classifier,
}
