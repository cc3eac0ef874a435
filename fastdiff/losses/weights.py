"""Weights of the denoising loss.

A weighting is a function of the noise level, given as the weight on ||x0 - x0_hat||^2 (the one unit
that exists at every level: eps says nothing about x0 where alpha = 0). ``denoising_loss``
converts it to the unit in which the network predicts, so every weighting goes with every
prediction. rho = sigma / alpha; SNR = 1 / rho^2; a network error in eps is SNR times one in x0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..arguments import attributes, choice, number
from ..parameterization import check_prediction, output_at
from ..processes import Process
from ..schedules import Schedule
from ..schedules.base import check_schedule


def x0_factor(schedule: Schedule, t: Tensor, prediction: str) -> Tensor:
    """What turns a squared error of the prediction into one of x0, [B].

    With x_t fixed, eps - eps_hat = -(alpha / sigma)(x0 - x0_hat); so an output a x0 + b eps is off
    by (a - b alpha / sigma)(x0 - x0_hat).
    """
    check_prediction(prediction, schedule)
    alpha, sigma = schedule.marginal(t)
    a, b = output_at(prediction, schedule, t, alpha, sigma)
    return (sigma / (a * sigma - b * alpha)) ** 2


def log_snr_rate(schedule: Schedule, t: Tensor) -> Tensor:
    """-d log SNR / dt = gamma'(t) = g^2 / sigma^2 >= 0, [B]."""
    return Process(schedule).diffusion2(t) / schedule.sigma(t) ** 2


def snr(schedule: Schedule, t: Tensor) -> Tensor:
    """alpha^2 / sigma^2, [B]."""
    check_schedule(schedule)
    alpha, sigma = schedule.marginal(t)
    return (alpha / sigma) ** 2


@dataclass(frozen=True)
class Uniform:
    """Weight one in the unit of ``prediction``. "eps" is L_simple (Ho et al. 2020, eq. 14), the SNR
    weight on x0, and sigma^2 on the score (Song and Ermon 2019, eq. 6)."""

    prediction: str = "eps"

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        return 1 / x0_factor(schedule, t, self.prediction)


@dataclass(frozen=True)
class MinSNR:
    """min(SNR, gamma). Hang et al. 2023, "Efficient diffusion training via min-SNR weighting
    strategy", sec. 3.4."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        number("gamma", self.gamma, above=0)

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        return snr(schedule, t).clip(max=self.gamma)


@dataclass(frozen=True)
class EDM:
    """(rho^2 + sigma_data^2) / (rho sigma_data)^2: unit variance of the effective target. Karras et
    al. 2022, table 1. Meant for times with log rho normal, ``edm_times``."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        number("sigma_data", self.sigma_data, above=0)

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        return snr(schedule, t) + self.sigma_data**-2


@dataclass(frozen=True)
class ELBO:
    """-1/2 d SNR / dt: the mean over t uniform in its range times the range is the diffusion term
    of the bound. Kingma et al. 2021, "Variational diffusion models", eq. 13. In the score it is
    g^2 / 2, the likelihood weighting of Song et al. 2021, "Maximum likelihood training of
    score-based diffusion models", theorem 1."""

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        return 0.5 * log_snr_rate(schedule, t) * snr(schedule, t)


@dataclass(frozen=True)
class Sigmoid:
    """The ELBO's weight times sigmoid(bias - log SNR). Kingma and Gao 2023, "Understanding
    diffusion objectives as the ELBO with simple data augmentation", sec. 5.1."""

    bias: float = 2.0

    def __post_init__(self) -> None:
        number("bias", self.bias, least=-700, most=700)  # e^-bias is a factor

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        # sigmoid(b - log SNR) = 1 / (1 + SNR e^-b)
        return ELBO()(schedule, t) / (1 + snr(schedule, t) * math.exp(-self.bias))


#: Weights that take numpy arrays as well as tensors.
BUILT_IN = (Uniform, MinSNR, EDM, ELBO, Sigmoid)

WEIGHTS = {
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


def find(name: str):
    """The weighting called ``name``, with its default settings."""
    choice("weight", name, WEIGHTS)
    return WEIGHTS[name]


__getattr__ = attributes(__name__)
