"""What a trained model is worth: one row of numbers per member of the family.

Bits per dimension ("bpd") are of the test images; FD is the Frechet distance of 1,000 samples to
the training images in the features of ``judge``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fastdiff import elbo, noise
from fastdiff.elbo import bits_per_dim
from fastdiff.likelihood import Exact, Hutchinson, dequantise, log_likelihood
from fastdiff.models import DDPM, HVAE, NCSN, VAE, VDM, Classifier, Member, ScoreSDE
from fastdiff.models.family import log_histograms
from fastdiff.sampling import RK45

from .config import TrainConfig
from .data import Images
from .draw import draw
from .judge import Judge, frechet_distance, judge

SAMPLES = 1000
SCALES = (0.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0)
MOST = 500  # test images that are looked at


@dataclass(frozen=True)
class Exam:
    """The data, and what is computed of them once."""

    train: Images
    test: Images
    device: torch.device | str = "cpu"

    @cached_property
    def x(self) -> Tensor:
        return self.test.values(slice(MOST)).to(self.device)

    @cached_property
    def keys(self) -> Tensor:
        return noise.keys(2, len(self.x), device=self.device)

    @cached_property
    def judge(self) -> Judge:
        return judge(self.train, self.test, self.device, features=32)

    @cached_property
    def features(self) -> Tensor:
        return self.judge.features(self.train.images)

    def distance(self, images: Tensor) -> float:
        """FD of images to the training images."""
        return frechet_distance(self.judge.features(images), self.features)

    @property
    def width(self) -> float:
        """Of a grey level in the units of x."""
        return 2 / (self.train.depth - 1)

    def dequantised(self, data: Images, seed: int) -> Tensor:
        return dequantise(data.images, data.depth, noise.keys(seed, len(data)))

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the training images, float64."""
        flat = self.train.images.flatten(1).double()
        return flat.mean(0), torch.cov(flat.T)


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
            result["FD"] = exam.distance(draw(model, SAMPLES, seed=10_000).cpu())
    return result


def baselines(exam: Exam) -> dict[str, float]:
    """What models have to beat: uniform, independent pixels, and a Gaussian of the dequantised
    images, in bits per dimension; and the FD of test images and of noise."""
    space = exam.train.space
    log_p = log_histograms(exam.train.images, space)
    levels = space.levels(exam.test.images)
    factorised = -log_p.expand(len(levels), *log_p.shape).gather(-1, levels[..., None]).mean()
    result = {
        "uniform bpd": math.log2(space.depth),
        "factorised bpd": float(factorised) / math.log(2),
    }
    if len(exam.train) > space.dims:
        train, test = (exam.dequantised(d, s).flatten(1).double() for d, s in
                       ((exam.train, 1), (exam.test, 2)))  # fmt: skip
        normal = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
        nats = -normal.log_prob(test).mean()
        result["gaussian bpd"] = float(bits_per_dim(nats, space.dims, exam.width))
    result["judge accuracy"] = exam.judge.test_accuracy
    result["FD test"] = exam.distance(exam.test.images)
    rng = torch.Generator().manual_seed(0)
    result["FD noise"] = exam.distance(torch.randn((SAMPLES, *space.shape), generator=rng))
    return result


def _vae(model: VAE, exam: Exam) -> dict[str, float]:
    dims = model.space.dims
    terms = [model.terms(exam.x, noise.fold_in(exam.keys, i)) for i in range(8)]
    reconstruction, kl = (torch.stack(part).mean().item() for part in zip(*terms, strict=True))
    shape = (64, len(exam.x), model.config.latent)
    eps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(exam.device)
    iwae = -model.iwae(exam.x, eps).mean().item()
    result = {"nats": reconstruction + kl, "IWAE64 nats": iwae, "KL nats": kl}
    if model.config.decoder != "gaussian":
        result |= {"bpd": (reconstruction + kl) / dims / math.log(2)}
        result |= {"IWAE64 bpd": iwae / dims / math.log(2)}
    if model.config.net == "linear" and model.config.decoder == "gaussian":
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
    terms = [sum(model.terms(x, noise.fold_in(keys, i))).mean().item() for i in range(8)]
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
    result = {"bpd": every.mean().item(), "bpd error": every.std().item() / len(every) ** 0.5}
    if model.space.dims <= 64:
        some = slice(48)
        difference = every[some] - bpd(some, Exact())
        result["Hutchinson - exact"] = difference.mean().item()
        result["its error"] = difference.std().item() / len(difference) ** 0.5
    if y is not None:
        labels = torch.arange(SAMPLES) % model.space.classes
        for scale in SCALES:
            images = draw(model, SAMPLES, seed=20_000, y=labels.to(exam.device), scale=scale).cpu()
            right = exam.judge.classify(images) == labels
            result[f"accuracy at {scale:g}"] = right.double().mean().item()
            result[f"FD at {scale:g}"] = exam.distance(images)
    return result


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
        t = model.schedule.t_min + u * (model.schedule.t_max - model.schedule.t_min)
        t = torch.full((len(exam.x),), t, device=exam.device)
        alpha, sigma = (f(t)[:, None, None, None] for f in (model.schedule.alpha, model.schedule.sigma))
        noisy = alpha * exam.x + sigma * noise.draw(exam.keys, model.space.shape)
        result[f"accuracy at t={u:g}"] = (model(noisy, t).argmax(1) == y).double().mean().item()
    return result


ROWS = {
    VAE: _vae,
    HVAE: _hvae,
    VDM: _vdm,
    DDPM: _ddpm,
    ScoreSDE: _sde,
    NCSN: _ncsn,
    Classifier: _classifier,
}
