"""A network that predicts eps, x0, v, the score or the velocity, on a schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..elbo import Estimate, estimator
from ..losses.eager import per_sample
from ..schedules import Schedule
from .family import Member, Space


class Denoiser(Member):
    """Base class of DDPM, NCSN and the SDEs: called as ``fastdiff.sample`` calls models.

    Attributes:
        net: net(x, t in [0, 1], y) -> output.
        schedule: the noise schedule.
        prediction: what the output is.
    """

    def __init__(self, config, space: Space, net: nn.Module, schedule: Schedule, prediction: str):
        super().__init__(config, space)
        self.net, self.schedule, self.prediction = net, schedule, prediction

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """The prediction at x_t [B, C, H, W] and times t [B] of the schedule.

        The network sees x_t at unit scale, x_t / sqrt(alpha^2 + sigma^2), and t from 0 to 1.
        """
        schedule = self.schedule
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        scale = per_sample(torch.rsqrt(alpha.square() + sigma.square()).to(x.dtype), x)
        unit = (t - schedule.t_min) / (schedule.t_max - schedule.t_min)
        return self.net(scale * x, unit, y)

    def denoise(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Estimate:
        """x0_hat, without clipping."""
        return estimator(self, self.schedule, self.prediction, y=y)(x, t)
