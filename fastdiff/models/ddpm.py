"""Denoising diffusion probabilistic models: discrete time, a bound on the likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import elbo
from ..losses import levels, noise_and_target, squared_error, target_weight
from ..losses.batch import per_sample
from ..losses.weights import find
from ..parameterization import read
from ..schedules import DiscreteBetas
from ..typing import Prediction
from .denoiser import Denoiser
from .family import Batch, Space, make_net, require


@dataclass(frozen=True)
class DDPMConfig:
    """Settings of ``DDPM``.

    Attributes:
        timesteps: T.
        betas: "linear" (1e-4 to 0.02, times 1000 / T) or "cosine".
        prediction: "eps", "x0" or "v".
        weight: of the loss, a name of ``fastdiff.losses.weights`` ("eps" is L_simple).
        variance: "fixed" or "learned" (the range between the two fixed ones).
        vlb: weight of the bound in the loss, per dimension; what teaches the variance.
        label_dropout: probability of the null class: 1 trains an unconditional model, less than 1
            one for classifier-free guidance.
        net: "mlp" or "unet".
        hidden: width of the network.
        blocks: residual blocks (of the UNet: per level).
        dropout: dropout probability.
    """

    timesteps: int = 100
    betas: str = "linear"
    prediction: Prediction = "eps"
    weight: str = "eps"
    variance: str = "fixed"
    vlb: float = 0.001
    label_dropout: float = 1.0
    net: str = "mlp"
    hidden: int = 256
    blocks: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require(self, 1, "timesteps", "hidden", "blocks")
        require(self, 0, "vlb")
        require(self, 0, "dropout", below=1)


class DDPM(Denoiser):
    """Denoising diffusion probabilistic model, in discrete time.

    Ho et al. 2020, "Denoising diffusion probabilistic models"; with ``variance="learned"`` the
    hybrid loss L_simple + vlb T L_vlb of Nichol and Dhariwal 2021, eq. 16. The
    network's output is the prediction; with a learned variance the second half of its channels is
    the fraction between small and large variance, from -1 to 1.
    """

    Config = DDPMConfig

    def __init__(self, config: DDPMConfig, space: Space):
        if config.prediction not in ("eps", "x0", "v"):
            raise ValueError(f'prediction: expected "eps", "x0" or "v", got {config.prediction!r}')
        if config.variance not in ("fixed", "learned"):
            raise ValueError(f'variance: expected "fixed" or "learned", got {config.variance!r}')
        if config.betas not in ("linear", "cosine"):
            raise ValueError(f'betas: expected "linear" or "cosine", got {config.betas!r}')
        find(config.weight)
        steps, rate = config.timesteps, 1000 / config.timesteps
        if config.betas == "linear":
            schedule = DiscreteBetas.linear(steps, 1e-4 * rate, min(0.02 * rate, 0.999))
        else:
            schedule = DiscreteBetas.cosine(steps)
        parts = 2 if config.variance == "learned" else 1
        net = make_net(config, space, parts * space.shape[0])
        super().__init__(config, space, net, schedule, config.prediction)

    @property
    def times(self) -> Tensor:
        """[T] the timesteps 0, ..., T - 1."""
        return torch.arange(self.config.timesteps, dtype=torch.float64)

    def loss(self, batch: Batch) -> Tensor:
        config, schedule = self.config, self.schedule
        t = (batch.u * config.timesteps).floor().clamp(max=config.timesteps - 1)
        x_t, target = noise_and_target(
            batch.x, levels(schedule, t, self.prediction), batch.stream(0)
        )
        out = self(x_t, t, self.labels(batch))
        weight = target_weight(schedule, t, self.prediction, find(config.weight))
        if config.variance == "fixed":
            return squared_error(out, target, weight) / self.space.dims
        out, signed = out.chunk(2, dim=1)
        simple = squared_error(out, target, weight)
        bound = config.timesteps * self._term(batch.x, x_t, t, out.detach(), (signed + 1) / 2)
        return (simple + config.vlb * bound) / self.space.dims

    def _term(self, x0: Tensor, x_t: Tensor, t: Tensor, out: Tensor, fraction: Tensor) -> Tensor:
        """The term of the bound at each sample's timestep, [B] in nats."""
        reading = read(self.prediction, self.schedule, t)
        x0_hat = per_sample(reading.x0_x, x_t) * x_t + per_sample(reading.x0_out, x_t) * out
        last = t == 0
        q = elbo.posterior(self.schedule, t, t - 1)
        clipped = elbo.Chain(self.schedule, self.times[:2]).step(0).var
        q = q._replace(var=torch.where(last, clipped.to(q.var), q.var))
        q = elbo.Posterior(*(per_sample(value, x0) for value in q))
        log_var = elbo.LearnedRange()(q, 0, fraction)
        decoder = elbo.levels_decoder(self.space.depth)
        return torch.where(
            last, -decoder(x0, x0_hat, log_var), elbo.denoising_kl(x0, x0_hat, q, log_var)
        )

    def bound(self, x: Tensor, keys: Tensor, variance, clip: float | None = 1.0) -> elbo.Bound:
        """The bound on log p of images x [B, C, H, W], see ``fastdiff.elbo.bound``.

        Args:
            variance: ``elbo.Small()``, ``Large()``, ``LearnedRange()`` or ``Optimal(mse)``.
            clip: the largest |x0_hat|.
        """
        return elbo.bound(
            elbo.estimator(self, self.schedule, self.prediction, clip), x, self.times, keys,
            schedule=self.schedule, variance=variance,
            decoder=elbo.levels_decoder(self.space.depth),
        )  # fmt: skip
