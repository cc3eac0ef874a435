"""A network that predicts eps, x0, v, the score or the velocity, on a schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..elbo import Estimate, estimator
from ..losses.batch import per_sample
from ..parameterization import exact_output
from ..schedules import VE, Schedule
from ..typing import Prediction
from .family import Batch, Member, Space


class Denoiser(Member):
    """Base class of DDPM, NCSN and the SDEs: called as ``fastdiff.sample`` calls models.

    The network sees x_t at unit scale and t from 0 to 1. Its output is the prediction, but on the
    variance-exploding schedule, where noise drowns the data a hundredfold: there it is
    (alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2), of unit scale at every level, and the
    prediction is read off it (Karras et al. 2022, "Elucidating the design space of diffusion-based
    generative models", sec. 5, with sigma_data = 1).

    Attributes:
        net: net(x, t in [0, 1], y) -> output.
        schedule: the noise schedule.
        prediction: what a call returns.
        label_dropout: probability of the null class in training; 1: no labels at all.
    """

    def __init__(
        self, config, space: Space, net: nn.Module, schedule: Schedule, prediction: Prediction
    ):
        super().__init__(config, space)
        self.label_dropout = getattr(config, "label_dropout", 1.0)
        if not 0 <= self.label_dropout <= 1:
            raise ValueError(
                f"label_dropout: expected a number in [0, 1], got {self.label_dropout!r}"
            )
        self.net, self.schedule, self.prediction = net, schedule, prediction

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The prediction at x_t [B, C, H, W] and times t [B] of the schedule; labels y [B]."""
        out = self.net(*at_unit_scale(self.schedule, x, t), y)
        if not isinstance(self.schedule, VE):
            return out
        alpha, sigma = (per_sample(f(t), x) for f in (self.schedule.alpha, self.schedule.sigma))
        kappa = (alpha.square() + sigma.square()).sqrt()
        x0 = (alpha * x / kappa - sigma * out) / kappa
        eps = (sigma * x / kappa + alpha * out) / kappa
        a, b = (per_sample(v, x) for v in exact_output(self.prediction, self.schedule, t))
        return a * x0 + b * eps

    def labels(self, batch: Batch) -> Tensor | None:
        """The labels of a batch: some of them dropped in training, all of them known otherwise."""
        if self.label_dropout == 1:
            return None
        if not self.training:
            return batch.y
        return batch.drop_labels(self.space.classes, self.label_dropout)

    def denoise(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Estimate:
        """x0_hat, without clipping."""
        return estimator(self, self.schedule, self.prediction, y=y)(x, t)


def at_unit_scale(schedule: Schedule, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """What networks are shown: x_t / sqrt(alpha^2 + sigma^2), and t as a part of its range."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    scale = torch.rsqrt(alpha.square() + sigma.square()).to(x.dtype)
    unit = (t - schedule.t_min) / (schedule.t_max - schedule.t_min)
    return per_sample(scale, x) * x, unit
