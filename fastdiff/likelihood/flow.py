"""The log-likelihood of a model through its probability flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .. import noise
from ..arguments import choice, describe, function, instance, number, tensor, whole
from ..losses import rademacher, standard_normal
from ..parameterization import check_prediction
from ..sampling.adaptive import RK45, check_state
from ..sampling.velocity import ends, span, velocity
from ..schedules import Schedule
from ..typing import Prediction


class Likelihood(NamedTuple):
    """What the flow says about each sample.

    Attributes:
        log_prob: log p(x) in nats, [B] float64.
        latent: [B, ...] where the flow took x.
        nfe: [B] int64, evaluations of the drift and its divergence.
    """

    log_prob: Tensor
    latent: Tensor
    nfe: Tensor


@dataclass(frozen=True)
class Exact:
    """The trace of the Jacobian: one backward pass per dimension."""

    def probes(self, x: Tensor) -> None:
        return None

    def __call__(self, f: Callable, x: Tensor, probes: None) -> tuple[Tensor, Tensor]:
        """f(x) and its divergence [B]."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = f(x)
            sums = out.flatten(1).sum(0)
            trace = x.new_zeros(len(x))
            for i, component in enumerate(sums):
                keep = i + 1 < len(sums)
                (row,) = torch.autograd.grad(component, x, retain_graph=keep)
                trace += row.flatten(1)[:, i]
        return out.detach(), trace


@dataclass(frozen=True)
class Hutchinson:
    """v' J v averaged over random v with E[v v'] = I, drawn once per trajectory. Hutchinson 1990;
    Grathwohl et al. 2019, "FFJORD", sec. 3.1. One backward pass per probe.

    Attributes:
        kind: "rademacher" (variance 2 (||S||^2 - sum S_ii^2), S the symmetric part of J; none at
            all for a diagonal one) or "gaussian" (2 ||S||^2).
        count: number of probes.
        seeds: of the probes, see ``fastdiff.noise.keys``.
    """

    kind: str = "rademacher"
    count: int = 1
    seeds: int | Tensor = 0

    def __post_init__(self) -> None:
        choice("kind", self.kind, ("rademacher", "gaussian"))
        whole("count", self.count, least=1)
        if not isinstance(self.seeds, (Tensor, Sequence)):
            noise.keys(self.seeds, 1)

    def probes(self, x: Tensor) -> Tensor:
        """[count, *x.shape]."""
        draw = rademacher if self.kind == "rademacher" else standard_normal
        keys = noise.keys(self.seeds, len(x), device=x.device)
        return torch.stack([draw(noise.fold_in(keys, i), x) for i in range(self.count)])

    def __call__(self, f: Callable, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = f(x)
            total = x.new_zeros(len(x))
            for i, probe in enumerate(probes):
                keep = i + 1 < len(probes)
                (row,) = torch.autograd.grad(out, x, probe, retain_graph=keep)
                total += (row * probe).flatten(1).sum(1)
        return out.detach(), total / len(probes)


def log_likelihood(
    model,
    x: Tensor,
    schedule: Schedule,
    *,
    prediction: Prediction = "eps",
    divergence=None,
    solver: RK45 | None = None,
    start: float | None = None,
    end: float | None = None,
    prior_std: float | None = None,
    cond: dict | None = None,
) -> Likelihood:
    """log p(x) = log N(x_T; 0, prior_std^2) + int div(velocity) along the probability flow.

    Song et al. 2021, "Score-based generative modeling through SDEs", eq. 39 and appendix D.2. A
    likelihood of the model's ODE: for data in bits per dimension dequantise them
    (``dequantise``) and pass -log_prob to ``fastdiff.elbo.bits_per_dim``.

    Args:
        model: model(x, t, **cond) -> prediction; differentiable with respect to x.
        x: [B, ...] float32 or float64, taken to live at ``start``.
        schedule, prediction: what the model was trained for.
        divergence: ``Exact()`` (default) or ``Hutchinson(...)``.
        solver: default ``RK45()``.
        start, end: times, by default the schedule's ``t_smallest`` and ``t_largest``.
        prior_std: of the latent; by default that of unit-variance data, sqrt(alpha^2 + sigma^2).
        cond: keyword arguments of the model.

    Raises:
        FloatingPointError, RuntimeError: see ``sample_adaptive``.
    """
    function("model", model)
    check_state(x)
    check_prediction(prediction, schedule)
    divergence = Exact() if divergence is None else divergence
    instance("divergence", divergence, (Exact, Hutchinson), "Exact() or Hutchinson()")
    if solver is not None:
        instance("solver", solver, RK45, "an adaptive solver such as RK45()")
    if prior_std is not None:
        prior_std = number("prior_std", prior_std, above=0)
    if cond is not None:
        instance("cond", cond, dict, "a dict of keyword arguments for the model")
    times = (end, start) = ends(schedule, end, start, names=("end", "start"))
    f = velocity(model, schedule, prediction, times, x.device, **(cond or {}))
    probes, shape = divergence.probes(x), x.shape

    def augmented(u: Tensor, y: Tensor) -> Tensor:
        state = y[:, :-1].reshape(shape)
        slope, trace = divergence(lambda x: f(u, x).to(x.dtype), state, probes)
        return torch.cat([slope.reshape(len(y), y.shape[1] - 1), trace[:, None]], 1)

    y = torch.cat([x.reshape(len(x), math.prod(shape[1:])), x.new_zeros(len(x), 1)], 1)
    with torch.no_grad():
        solution = (solver or RK45())(augmented, y, *span(schedule, (start, end)))
    latent, change = solution.x[:, :-1], solution.x[:, -1]
    if prior_std is None:
        prior_std = math.hypot(float(schedule.alpha(end)), float(schedule.sigma(end)))
    square = (latent.double() / prior_std).square().sum(1)
    log_prior = -0.5 * square - latent.shape[1] * math.log(prior_std * math.sqrt(2 * math.pi))
    return Likelihood(log_prior + change.double(), latent.reshape(shape), solution.nfe)


def dequantise(x: Tensor, depth: int, keys: Tensor) -> Tensor:
    """Grey levels in [-1, 1] plus uniform noise over their bins, of width 2 / (depth - 1).

    -log p of the result in bits per dimension, ``bits_per_dim(nats, D, 2 / (depth - 1))``, bounds
    that of the levels from above on average (Theis et al. 2016, sec. 3.1).

    Args:
        x: [B, ...] values on the levels.
        depth: number of levels.
        keys: [B, 2], of the noise.
    """
    tensor("x", x, dims=1)
    whole("depth", depth, least=2)
    tensor("keys", keys, floating=False)
    if keys.is_floating_point():
        raise ValueError(f"keys: expected int64 keys [B, 2], got {describe(keys)}")
    return x + 2 / (depth - 1) * (torch.special.ndtr(standard_normal(keys, x)) - 0.5)
