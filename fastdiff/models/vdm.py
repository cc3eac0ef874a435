"""Variational diffusion models: a bound in continuous time with a learned noise schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..elbo import bits_per_dim
from ..losses import categorical, gaussian_kl, noise_and_target, squared_error
from ..losses.batch import per_sample
from ..noise import fold_in
from ..typing import Prediction
from .family import Batch, Member, Space, check_size, log_histograms, require
from .gamma import Gamma, scale_gradient
from .mlp import ResidualMLP

CLEAN = -8.0 + 2 * math.log(16)  # gamma(0) of two levels: 17 are told apart at -8
LOGITS = 2**24  # that are in memory at once


@dataclass(frozen=True)
class VDMConfig:
    """Settings of ``VDM``.

    Attributes:
        head: "bayes" (the network corrects the exact posterior of independent pixels; one number
            per pixel and grey level), "eps", or "auto": bayes where pixels times levels are few.
        gamma_min: gamma(0) = -log SNR at the clean end, at the start of the training; default: the
            noise is a seventh of the distance of two grey levels (-8 for 17 of them).
        gamma_max: gamma(1), at the noisy end.
        learned: train the noise schedule, too.
        fourier: number of frequencies 2^n pi of z shown to the network as well.
        hidden: width of the network.
        blocks: residual blocks.
        dropout: dropout probability.
    """

    head: str = "auto"
    gamma_min: float | None = None
    gamma_max: float = 5.0
    learned: bool = True
    fourier: int = 0
    hidden: int = 256
    blocks: int = 2
    dropout: float = 0.3

    def __post_init__(self) -> None:
        require(self, 1, "hidden", "blocks")
        require(self, 0, "fourier")
        require(self, 0, "dropout", below=1)


@dataclass(frozen=True)
class VDMBound:
    """The terms of -ELBO of each sample in nats, all [B].

    Attributes:
        reconstruction: -log p(x | z_0).
        prior: KL(q(z_1 | x) || N(0, I)).
        diffusion: 1/2 gamma'(t) ||eps - eps_hat||^2 at the sample's t.
    """

    reconstruction: Tensor
    prior: Tensor
    diffusion: Tensor

    @property
    def total(self) -> Tensor:
        return self.reconstruction + self.prior + self.diffusion


class VDM(Member):
    """Variational diffusion model in continuous time, with a learned noise schedule.

    Kingma et al. 2021, "Variational diffusion models": alpha^2 = sigmoid(-gamma), sigma^2 =
    sigmoid(gamma); the decoder p(x | z_0) is the softmax of -1/2 SNR(0) (z_0 / alpha_0 - level)^2
    over the grey levels of each pixel. With head "bayes"

        x0_hat = sum_k level_k p_k,
        p = softmax(log pmf + net(z, gamma) - 1/2 SNR (z / alpha - level)^2)

    where pmf is the histogram of the pixel over the training images. Untrained, the bound is then
    the cross-entropy of independent pixels: whatever training gains comes off it.

    Called as model(z, t), it returns its ``prediction``, "x0" or "eps", on ``schedule``.
    """

    Config = VDMConfig
    log_pmf: Tensor
    values: Tensor

    def __init__(self, config: VDMConfig, space: Space):
        super().__init__(config, space)
        if config.head not in ("auto", "bayes", "eps"):
            raise ValueError(f'head: expected "auto", "bayes" or "eps", got {config.head!r}')
        self.bayes = config.head == "bayes" or (config.head == "auto" and space.few_levels)
        self.prediction: Prediction = "x0" if self.bayes else "eps"
        if self.bayes:
            check_size("head", space, space.depth, config.hidden, "head eps (--head eps)")
        low = config.gamma_min
        if low is None:
            low = CLEAN - 2 * math.log(space.depth - 1)
        self.start = (low, config.gamma_max)
        self.gamma = Gamma(self.start, learned=config.learned)
        channels, height, width = space.shape
        inputs = (channels * (1 + 2 * config.fourier), height, width)
        outputs = (*space.shape, space.depth) if self.bayes else space.shape
        self.net = ResidualMLP(
            inputs, outputs, config.hidden, config.blocks, space.classes, config.dropout
        )
        uniform = torch.full((*space.shape, space.depth), -math.log(space.depth))
        self.register_buffer("log_pmf", uniform if self.bayes else torch.zeros(()))
        self.register_buffer("values", space.values, persistent=False)

    def fit(self, images: Tensor) -> None:
        """Take the histogram of each pixel."""
        if not self.bayes:
            return
        self.log_pmf.copy_(log_histograms(images, self.space))

    @property
    def schedule(self):
        """The noise schedule as it is now."""
        return self.gamma.schedule()

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """The prediction at z_t [B, C, H, W] and times t [B] in [0, 1]."""
        return self.predict(z, self.gamma(t.to(self.gamma.ends.dtype)))

    def predict(self, z: Tensor, gamma: Tensor) -> Tensor:
        """The prediction at z [B, C, H, W] of noise level gamma [B]."""
        # A network that is optimal at every gamma does not change with its input gamma to
        # first order, so the schedule learns without this path (whose frequencies are high).
        low, high = self.start
        unit = ((gamma.detach() - low) / (high - low)).clamp(-0.5, 1.5)
        inputs = [z]
        for n in range(self.config.fourier):
            inputs += [torch.sin(2**n * torch.pi * z), torch.cos(2**n * torch.pi * z)]
        out = self.net(torch.cat(inputs, 1), unit)
        if not self.bayes:
            return out
        logits = self.log_pmf + out + self.level_logits(z, gamma)
        return logits.softmax(-1) @ self.values

    def level_logits(self, z: Tensor, gamma: Tensor) -> Tensor:
        """log q(z | level) = -1/2 SNR (z / alpha - level)^2 + const, [B, C, H, W, depth]."""
        alpha, snr = torch.sigmoid(-gamma).sqrt(), torch.exp(-gamma)
        gap = (z / per_sample(alpha, z))[..., None] - self.values
        return -0.5 * per_sample(snr, gap) * gap.square()

    def decoder(self, z: Tensor) -> Tensor:
        """Logits of p(x | z_0), [B, C, H, W, depth]."""
        return self.level_logits(z, self.gamma.ends[0].expand(len(z)))

    def loss(self, batch: Batch) -> Tensor:
        return bits_per_dim(self.bound(batch.x, batch.u, batch.keys).total, self.space.dims)

    def bound(self, x: Tensor, t: Tensor, keys: Tensor) -> VDMBound:
        """The bound at one time of each sample; over t uniform in [0, 1] its mean is -ELBO.

        Args:
            x: images [B, C, H, W] on the levels in [-1, 1].
            t: times [B].
            keys: of the noise, [B, 2].
        """
        factor: list[Tensor] = []
        part, rate = (scale_gradient(v, factor) for v in self.gamma.fraction(t))
        low, high = self.gamma.ends
        gamma, dgamma = low + (high - low) * part, (high - low) * rate
        z, eps = diffuse(x, gamma, keys)
        # ||eps - eps_hat||^2 = SNR ||x - x_hat||^2
        snr, target = (torch.exp(-gamma), x) if self.prediction == "x0" else (1.0, eps)
        diffusion = squared_error(self.predict(z, gamma), target, 0.5 * dgamma * snr)
        factor.append(2 * diffusion.detach() / diffusion.detach().mean())
        ends = (low.expand(len(x)), high.expand(len(x)))
        z0, _ = diffuse(x, ends[0], fold_in(keys, 1))
        log_p = self._log_prob(x, z0)
        return VDMBound(-log_p, self._prior(x, ends[1]), diffusion)

    def _log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z_0), [B]. The logits of many images are made some at a time, and again for
        their gradients: kept, those of a colour image of 64x64 would take 12 MiB each."""
        level = self.space.levels(x)
        each = max(1, LOGITS // (self.space.dims * self.space.depth))
        if len(x) <= each:
            return categorical(level, self.decoder(z))
        parts = zip(level.split(each), z.split(each), strict=True)
        return torch.cat([
            checkpoint(lambda k, v: categorical(k, self.decoder(v)), *part, use_reentrant=False)
            for part in parts
        ])  # fmt: skip

    @staticmethod
    def _prior(x: Tensor, gamma: Tensor) -> Tensor:
        alpha, log_var = torch.sigmoid(-gamma).sqrt(), torch.nn.functional.logsigmoid(gamma)
        zero = torch.zeros((), device=x.device)
        return gaussian_kl(per_sample(alpha, x) * x, per_sample(log_var, x), zero, zero)


def diffuse(x: Tensor, gamma: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """z = alpha x + sigma eps at gamma [B], and eps; ``noise`` is eps or its keys [B, 2]."""
    alpha, sigma = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
    zero = torch.zeros_like(alpha)
    return noise_and_target(x, torch.stack([alpha, sigma, zero, zero + 1], 1), noise)
