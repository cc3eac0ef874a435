"""Weights of the denoising loss.

A weighting is a function of the noise level, given as the weight on ||x0 - x0_hat||^2 (the one unit
that exists at every level: eps says nothing about x0 where alpha = 0). ``denoising_loss``
converts it to the unit in which the network predicts, so every weighting goes with every
prediction. rho = sigma / alpha; SNR = 1 / rho^2; a network error in eps is SNR times one in x0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..arguments import attributes, choice, number
from ..parameterization import check_prediction
from ..schedules import Schedule
from ..schedules.base import check_schedule
from ..typing import Numbers, Prediction
from .levels import Levels, LevelWeight

__all__ = [
    "EDM",
    "ELBO",
    "MinSNR",
    "Sigmoid",
    "Uniform",
    "WEIGHTS",
    "find",
    "log_snr_rate",
    "snr",
    "x0_factor",
]


def x0_factor(schedule: Schedule, t: Tensor, prediction: Prediction) -> Tensor:
    """What turns a squared error of the prediction into one of x0, [B]."""
    check_prediction(prediction, schedule)
    return Levels.of(schedule, t).x0_factor(prediction)


def log_snr_rate(schedule: Schedule, t: Tensor) -> Tensor:
    """-d log SNR / dt = gamma'(t) = g^2 / sigma^2 >= 0, [B]."""
    check_schedule(schedule)
    return Levels.of(schedule, t).log_snr_rate


def snr(schedule: Schedule, t: Tensor) -> Tensor:
    """alpha^2 / sigma^2, [B]."""
    check_schedule(schedule)
    return Levels.of(schedule, t).snr


@dataclass(frozen=True)
class Uniform(LevelWeight):
    """Weight one in the unit of ``prediction``. "eps" is L_simple (Ho et al. 2020, eq. 14), the SNR
    weight on x0, and sigma^2 on the score (Song and Ermon 2019, eq. 6)."""

    prediction: Prediction = "eps"

    def _on(self, levels: Levels) -> Numbers:
        return 1 / levels.x0_factor(self.prediction)


@dataclass(frozen=True)
class MinSNR(LevelWeight):
    """min(SNR, gamma). Hang et al. 2023, "Efficient diffusion training via min-SNR weighting
    strategy", sec. 3.4."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        number("gamma", self.gamma, above=0)

    def _on(self, levels: Levels) -> Numbers:
        return levels.snr.clip(max=self.gamma)


@dataclass(frozen=True)
class EDM(LevelWeight):
    """(rho^2 + sigma_data^2) / (rho sigma_data)^2: unit variance of the effective target. Karras et
    al. 2022, table 1. Meant for times with log rho normal, ``edm_times``."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        number("sigma_data", self.sigma_data, above=0)

    def _on(self, levels: Levels) -> Numbers:
        return levels.snr + self.sigma_data**-2


@dataclass(frozen=True)
class ELBO(LevelWeight):
    """-1/2 d SNR / dt: the mean over t uniform in its range times the range is the diffusion term
    of the bound. Kingma et al. 2021, "Variational diffusion models", eq. 13. In the score it is
    g^2 / 2, the likelihood weighting of Song et al. 2021, "Maximum likelihood training of
    score-based diffusion models", theorem 1."""

    def _on(self, levels: Levels) -> Numbers:
        return 0.5 * levels.log_snr_rate * levels.snr


@dataclass(frozen=True)
class Sigmoid(LevelWeight):
    """The ELBO's weight times sigmoid(bias - log SNR). Kingma and Gao 2023, "Understanding
    diffusion objectives as the ELBO with simple data augmentation", sec. 5.1."""

    bias: float = 2.0

    def __post_init__(self) -> None:
        number("bias", self.bias, least=-700, most=700)  # e^-bias is a factor

    def _on(self, levels: Levels) -> Numbers:
        # sigmoid(b - log SNR) = 1 / (1 + SNR e^-b)
        return ELBO()._on(levels) / (1 + levels.snr * math.exp(-self.bias))


WEIGHTS: dict[str, LevelWeight] = {
    "eps": Uniform("eps"),
    "x0": Uniform("x0"),
    "v": Uniform("v"),
    "score": Uniform("score"),
    "flow": Uniform("flow"),
    "snr": Uniform("eps"),
    "min-snr": MinSNR(),
    "edm": EDM(),
    "elbo": ELBO(),
    "sigmoid": Sigmoid(),
}


def find(name: str) -> LevelWeight:
    """The weighting called ``name``, with its default settings."""
    choice("weight", name, WEIGHTS)
    return WEIGHTS[name]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
