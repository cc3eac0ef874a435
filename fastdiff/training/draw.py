"""Samples of every member of the family, each by its own sampler."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import Tensor

import fastdiff as fd
from fastdiff.models import DDPM, HVAE, NCSN, VAE, VDM, Member, ScoreSDE
from fastdiff.models.vdm import LOGITS


def draw(model: Member, count: int, seed: int = 0, y: Tensor | None = None, **options) -> Tensor:
    """[count, C, H, W] images in about [-1, 1].

    Args:
        model: any member but a classifier, in eval mode.
        count: how many.
        seed: sample b has seed ``seed + b``.
        y: [count] labels, for models that take them (:func:`takes_labels`); default: none.
        options: of the sampler of the member (:func:`options_of`): ``steps`` (VDM, DDPM, ScoreSDE),
            ``repeats`` (NCSN: steps at each level), ``solver`` (DDPM, ScoreSDE), ``scale`` of the
            guidance (with ``y``).

    Raises:
        TypeError: the model is not a generative member.
        ValueError: it has no such option, or takes no labels.
    """
    sampler, accepted, kind = _sampler(model), options_of(model), type(model).__name__
    for name, value in options.items():
        if name not in accepted:
            those = ", ".join(accepted) or "none"
            raise ValueError(f"{name}: expected none for a {kind} (options: {those}), got {value}")
    if y is not None and not takes_labels(model):
        raise ValueError(f"y: expected none for a {kind} that was trained without labels")
    if options.get("scale", 1) != 1 and (y is None or not model.label_dropout):
        lacks = "without labels y" if y is None else f"for a {kind} that was never without labels"
        raise ValueError(f"scale: expected 1 {lacks}, got {options['scale']}")
    device = next(model.parameters()).device
    keys = fd.noise.keys(seed, count, device=device)
    each = max(1, LOGITS // _numbers(model))
    labels = [None] * -(-count // each) if y is None else y.split(each)
    with torch.no_grad():
        parts = [
            sampler(model, some, y=own, **options)
            for some, own in zip(keys.split(each), labels, strict=True)
        ]
    return torch.cat(parts).clamp(-1, 1)


def options_of(model: Member) -> tuple[str, ...]:
    """The options that :func:`draw` has for a member.

    Raises:
        TypeError: the model is not a generative member.
    """
    return tuple(inspect.signature(_sampler(model)).parameters)[3:]


def takes_labels(model: Member) -> bool:
    """Whether a member was trained with labels."""
    return getattr(model, "label_dropout", 1) < 1


def _sampler(model: Member):
    for member, sampler in SAMPLERS.items():
        if isinstance(model, member):
            return sampler
    raise TypeError(
        f"model: expected a generative member, got {type(model).__name__} (a classifier guides "
        "another one: fastdiff.models.Guided)"
    )


def _numbers(model: Member) -> int:
    """What a network gives for one image: some images are made at a time."""
    if isinstance(model, VAE | HVAE):
        return model.space.dims * model.likelihood.outputs
    levels = isinstance(model, VDM) and model.bayes
    return model.space.dims * (model.space.depth if levels else 1)


def _vae(model: VAE, keys: Tensor, y=None) -> Tensor:
    return model.decode(fd.noise.draw(keys, (model.config.latent,)))


def _hvae(model: HVAE, keys: Tensor, y=None) -> Tensor:
    return model.sample(keys)


def _vdm(model: VDM, keys: Tensor, y=None, steps: int = 100) -> Tensor:
    """The generative model p(z_s | z_t) in ``steps``, then the most probable levels."""
    table = fd.solvers.VDM().lower(
        model.schedule, steps, prediction=model.prediction, grid=fd.grids.Uniform()
    )
    z = fd.sample(model, fd.noise.draw(keys, model.space.shape), table, seeds=keys)
    alpha = torch.sigmoid(-model.gamma.ends[0]).sqrt()
    return model.values[model.space.levels(z / alpha)]


def _ddpm(model: DDPM, keys: Tensor, y=None, scale: float = 1.0, steps=None, solver=None):
    """All timesteps, with the large variance or the learned one, unless asked for others."""
    learned = model.config.variance == "learned"
    if learned and solver is not None:
        raise ValueError(f"solver: expected none, as the variance is learned, got {solver!r}")
    solver = solver or fd.solvers.DDPM("learned_range" if learned else "fixed_large")
    table = solver.lower(
        model.schedule, steps or model.config.timesteps, prediction=model.prediction, clip=1.0
    )
    return _guided(model, model, keys, table, y, scale)


def _sde(model: ScoreSDE, keys: Tensor, y=None, scale: float = 1.0, steps: int = 20, solver=None):
    solver = solver or fd.solvers.DPMpp2M()
    table = solver.lower(model.schedule, steps, prediction=model.prediction)
    return _guided(model, model, keys, table, y, scale)


def _ncsn(model: NCSN, keys: Tensor, y=None, repeats: int = 20) -> Tensor:
    return fd.sample(model, _start(keys, model, levels_down(model)[0]),
                     langevin(model, repeats), seeds=keys)  # fmt: skip


SAMPLERS = {VAE: _vae, HVAE: _hvae, VDM: _vdm, DDPM: _ddpm, NCSN: _ncsn, ScoreSDE: _sde}


def levels_down(model: NCSN) -> np.ndarray:
    """Times of the ladder, the noisiest first."""
    return model.times.double().numpy()[::-1].copy()


def langevin(model: NCSN, repeats: int):
    """The table of annealed Langevin dynamics on the model's own ladder, with a last denoising."""
    solver, grid = fd.solvers.AnnealedLangevin(repeats=repeats), [*levels_down(model), -np.inf]
    return solver.lower(model.schedule, None, prediction=model.prediction, grid=grid)


def _start(keys: Tensor, model, t: float) -> Tensor:
    return float(model.schedule.sigma(t)) * fd.noise.draw(keys, model.space.shape)


def _guided(network, model, keys, table, y, scale) -> Tensor:
    x = _start(keys, model, table.t[0])
    if y is None:
        return fd.sample(network, x, table, seeds=keys)
    null = torch.full_like(y, model.space.classes)
    return fd.sample(
        network, x, table, seeds=keys, guidance=fd.guidance.CFG(float(scale)),
        cond={"y": y}, uncond={"y": null},
    )  # fmt: skip
