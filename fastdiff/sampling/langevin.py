"""Predictor-corrector sampling: steps of Langevin dynamics before each step of a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import noise as noise_
from .. import ops
from ..arguments import instance
from ..solvers import StepTable
from ..solvers.options import plain
from ..typing import Model, Noise, Seeds
from .buffers import Buffers
from .draws import Draws
from .returned import Callback, call, prediction_of
from .state import SamplerState

NORMS = ("sample", "batch", "level")
TINY = 1e-30  # of the norm of a score that is zero


@dataclass(frozen=True)
class Langevin:
    """The corrector: at a fixed noise level. Song et al. 2021, algorithms 4 and 5.

    x <- x + a score + sqrt(2 a) z,   a = 2 (alpha_t / alpha_s)^2 (snr |z| / |score|)^2

    from level t before the step to s; the ratio is 1 - beta of a table of betas, and 1 for VE.

    Args:
        snr: the ratio r of the size of the noise to that of the step, 0.16 in the paper.
        steps: how many corrections at each level.
        norm: "sample": the norms of each sample, so that it does not depend on its batch; "batch":
            their means over the batch, as published; "level": sigma in place of |z| / |score|
            (annealed Langevin dynamics, "ald" of score_sde).
    """

    snr: float = 0.16
    steps: int = 1
    norm: str = "sample"

    def __post_init__(self):
        for name in ("snr", "steps"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        if isinstance(self.snr, bool) or not isinstance(self.snr, (int, float)) or not self.snr > 0:
            raise ValueError(f"Langevin: snr must be a number > 0, got {self.snr!r}")
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise ValueError(f"Langevin: steps must be an integer >= 0, got {self.steps!r}")
        if not isinstance(self.norm, str) or self.norm not in NORMS:
            raise ValueError(
                f"Langevin: norm must be one of {', '.join(map(repr, NORMS))}, got {self.norm!r}"
            )

    def factor(self, table: StepTable, k: int) -> float:
        """(alpha_t / alpha_s)^2 of the step that starts at row k."""
        alpha, after = table.alpha[k : k + 2].tolist()
        return (alpha / after) ** 2 if after > 0 else 1.0

    def step_size(self, score: Tensor, z: Tensor, sigma: float, factor: float) -> Tensor:
        """[B, 1, ...] a, in the dtype of the state."""
        if self.norm == "level":
            ratio = score.new_full((len(score),), sigma)
        else:
            sums = ops.moments(score, z)
            score_norm, noise_norm = sums[:, 2].sqrt(), sums[:, 4].sqrt()
            if self.norm == "batch":
                score_norm, noise_norm = (n.mean().expand(len(z)) for n in (score_norm, noise_norm))
            ratio = noise_norm / score_norm.clamp_min(TINY)
        size = 2 * factor * (self.snr * ratio) ** 2
        return size.to(score.dtype).reshape(-1, *[1] * (score.dim() - 1))


class _Level:
    """What a correction needs to know of the noise level of row k, as numbers on the host."""

    def __init__(self, table: StepTable, k: int):
        _, alpha, sigma, self.in_scale, _, a, b = table.levels[k].tolist()
        # eps from x = alpha x0 + sigma eps and out = a x0 + b eps; the score is -eps / sigma
        volume = sigma * (alpha * b - a * sigma)
        self.score_x, self.score_out = a / volume, -alpha / volume
        self.sigma = sigma

    def score(self, x: Tensor, out: Tensor) -> Tensor:
        score = self.score_out * out.to(x.dtype)
        return score.add_(x, alpha=self.score_x) if self.score_x else score


def predictor_corrector(
    model: Model,
    x: Tensor,
    table: StepTable,
    corrector: Langevin | None = None,
    *,
    seeds: Seeds = 0,
    cond: dict[str, Any] | None = None,
    callback: Callback | None = None,
    noise: Noise = "philox",
    model_dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw samples, correcting x before each step of the table. Song et al. 2021, algorithm 1.

    With ``ReverseDiffusion`` and "batch" norms the sampler of score_sde; any solver can be the
    predictor. Rows that go back to a saved anchor (second stages) are not corrected. Nothing is
    asked of the device.

    Args:
        model: called as model(x, t, **cond), of the kind that the table was lowered for.
        x: [B, ...] initial state at the table's first noise level, see ``SamplerState``.
        table: one StepTable, for all samples.
        corrector: default: ``Langevin()``.
        seeds: noise seeds, see ``SamplerState``. The draws of the corrections are numbered behind
            those of the table.
        cond: keyword arguments of the model.
        callback: called with the SamplerState after every step.
        noise, model_dtype: see ``SamplerState``. A generator is asked in the order of use; a tensor
            or a callable gives first the draws of the table, then those of the corrections. These
            stay at their level, so a Brownian path has none for them.

    Returns:
        [B, ...] the samples, in the state's dtype.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    corrector = Langevin() if corrector is None else corrector
    _check(model, table, corrector, callback)
    if cond is not None:
        instance("cond", cond, dict, "a dict of keyword arguments for the model")
    cond, first = dict(cond or {}), frozenset(table.first_stages.tolist())
    with torch.no_grad():
        state = SamplerState(table, x, seeds=seeds, model_dtype=model_dtype, noise=noise)
        total = table.noise_draws + corrector.steps * len(first)
        draw = _source(noise, state, table.noise_draws, total) if corrector.steps else None
        for k in range(1, table.nfe + 1):
            if draw is not None and k in first:
                level = _Level(table, k)
                for _ in range(corrector.steps):
                    score = level.score(
                        state.x, prediction_of(model(state.model_input, state.t, **cond), state.x)
                    )
                    z = draw()
                    size = corrector.step_size(score, z, level.sigma, corrector.factor(table, k))
                    state.x.addcmul_(score, size).addcmul_(z, (2 * size).sqrt_())
            out = state.model_input  # something that is not read
            if table.reads_output[k]:
                out = model(state.model_input, state.t, **cond)
            state.step(out)
            if callback is not None:
                call(callback, state)
    return state.x


def _source(noise, state: SamplerState, number: int, total: int) -> Callable[[], Tensor]:
    """A function that gives the draws after draw ``number``, one a call."""
    if isinstance(noise, str) and noise == "brownian":
        raise ValueError(
            'noise: "brownian" has no draws for corrections, which stay at one noise level, '
            'expected "philox", "torch", generators, a tensor or a callable'
        )
    if isinstance(noise, str) and noise == "philox":
        shape = state.x.shape[1:]

        def philox() -> Tensor:
            nonlocal number
            number += 1
            return noise_.draw(state.keys, shape, number).to(state.x.dtype)

        return philox
    draws, everyone = Draws(noise, Buffers(x=state.x), total, False), list(range(len(state.x)))

    def draw() -> Tensor:
        nonlocal number
        number += 1
        draws.fill(everyone, [number] * len(everyone))
        return draws.z

    return draw


def _check(model, table, corrector, callback):
    for name, value in (("model", model), ("callback", callback)):
        if not (callable(value) or (name == "callback" and value is None)):
            raise TypeError(f"{name}: expected a callable, got {type(value).__name__}")
    if not isinstance(table, StepTable):
        raise TypeError(f"table: expected one StepTable, got {type(table).__name__}")
    if table.uses_gain or table.uses_known:
        raise ValueError("table: expected one without learned variances and known data")
    if not isinstance(corrector, Langevin):
        raise TypeError(f"corrector: expected a Langevin, got {type(corrector).__name__}")
    declared = getattr(model, "prediction", None)
    if isinstance(declared, str) and declared != table.prediction:
        raise ValueError(
            f"table: expected one lowered for prediction={declared!r}, as the model declares, "
            f"got one for {table.prediction!r}"
        )
