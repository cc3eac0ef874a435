"""Noise-conditional score networks: a ladder of noise levels, sampled by annealed Langevin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import denoising_loss, rademacher, sliced, standard_normal
from ..losses.batch import per_sample
from ..schedules import VE
from .denoiser import Denoiser
from .family import Batch, Space, make_net, require


@dataclass(frozen=True)
class NCSNConfig:
    """Settings of ``NCSN``.

    Attributes:
        levels: L, number of noise levels, in geometric progression.
        sigma_min: the smallest.
        sigma_max: the largest.
        objective: "denoising" (DSM) or "sliced" (SSM, variance-reduced).
        net: "mlp" or "unet".
        hidden: width of the network.
        blocks: residual blocks (of the UNet: per level).
        dropout: dropout probability.
    """

    levels: int = 12
    sigma_min: float = 0.05
    sigma_max: float = 10.0
    objective: str = "denoising"
    net: str = "mlp"
    hidden: int = 256
    blocks: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self, 2, "levels")
        require(self, 1, "hidden", "blocks")
        require(self, 0, "dropout", below=1)


class NCSN(Denoiser):
    """Noise-conditional score network, for annealed Langevin dynamics.

    Song and Ermon 2019, "Generative modeling by estimating gradients of the data distribution".
    The score of x0 + sigma eps is -net / sigma, so the weight sigma^2 of its eq. 6 makes the loss
    of every level that of eps. With ``objective="sliced"`` the same scores are learned from the
    noisy images alone: Song et al. 2019, "Sliced score matching", eq. 8.
    """

    Config = NCSNConfig

    def __init__(self, config: NCSNConfig, space: Space):
        if config.objective not in ("denoising", "sliced"):
            raise ValueError(
                f'objective: expected "denoising" or "sliced", got {config.objective!r}'
            )
        schedule = VE(config.sigma_min, config.sigma_max)
        super().__init__(config, space, make_net(config, space), schedule, "eps")

    @property
    def times(self) -> Tensor:
        """[L] times of the levels, the least noisy first."""
        return torch.linspace(0, 1, self.config.levels)

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """grad log p of the noisy images x [B, C, H, W] at times t [B]."""
        return -self(x, t) / per_sample(self.schedule.sigma(t), x)

    def loss(self, batch: Batch) -> Tensor:
        level = (batch.u * self.config.levels).long().clamp(max=self.config.levels - 1)
        t = self.times.to(batch.u)[level]
        if self.config.objective == "denoising":
            return denoising_loss(
                self, batch.x, t, batch.stream(0), schedule=self.schedule
            ) / self.space.dims  # fmt: skip
        sigma = self.schedule.sigma(t)
        noisy = batch.x + per_sample(sigma, batch.x) * standard_normal(batch.stream(0), batch.x)
        probe = rademacher(batch.stream(1), batch.x)
        return sigma.square() * sliced(lambda x: self.score(x, t), noisy, probe) / self.space.dims
