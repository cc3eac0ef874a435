"""Markovian hierarchical variational auto-encoders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..elbo import MarkovBound, bits_per_dim, markov_bound
from ..losses import gaussian_sample_kl, standard_normal
from ..noise import fold_in
from .family import Batch, Member, Space, require
from .vae import Likelihood, free, mlp, warm


@dataclass(frozen=True)
class HVAEConfig:
    """Settings of ``HVAE``.

    Attributes:
        latents: dimensions of z_1, ..., z_T, the one next to the data first.
        decoder: of the data, see ``VAEConfig``.
        hidden: width of the networks.
        dropout: dropout probability.
        free_bits: nats of each level, on average over the batch, that cost nothing: what keeps the
            upper levels from collapsing onto the prior.
        kl_warmup: steps over which the weight of the levels grows from 0 to 1.
    """

    latents: tuple[int, ...] = (24, 8)
    decoder: str = "auto"
    hidden: int = 256
    dropout: float = 0.2
    free_bits: float = 3.0
    kl_warmup: int = 300

    def __post_init__(self) -> None:
        object.__setattr__(self, "latents", tuple(int(n) for n in self.latents))
        if not self.latents or min(self.latents) < 1:
            raise ValueError(f"latents: expected positive dimensions, got {self.latents}")
        require(self, 1, "hidden")
        require(self, 0, "free_bits", "kl_warmup")
        require(self, 0, "dropout", below=1)


class HVAE(Member):
    """Markovian hierarchical variational auto-encoder.

    q(z_t | z_{t-1}) up, p(z_{t-1} | z_t) down: Luo 2022, "Understanding diffusion models: a unified
    perspective", "Hierarchical variational autoencoders". With latents of the data's
    dimension, a fixed Gaussian q and a last latent that is pure noise this is a diffusion model:
    ``fastdiff.elbo.diffusion_as_markov``.
    """

    Config = HVAEConfig

    def __init__(self, config: HVAEConfig, space: Space):
        super().__init__(config, space)
        self.likelihood = Likelihood(config.decoder, space)
        self.likelihood.check_size(config.hidden)
        sizes, (hidden, dropout) = (space.dims, *config.latents), (config.hidden, config.dropout)
        self.up = nn.ModuleList(
            mlp(below, hidden, 2 * above, dropout)
            for below, above in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.down = nn.ModuleList(
            mlp(above, hidden, 2 * below, dropout)
            for below, above in zip(sizes[1:-1], sizes[2:], strict=True)
        )
        self.pixels = mlp(sizes[1], hidden, space.dims * self.likelihood.outputs, dropout)

    def fit(self, images: Tensor) -> None:
        self.likelihood.fit(images)

    def bound(self, x: Tensor, noise: list[Tensor]) -> MarkovBound:
        """The terms of -ELBO at one sample of every latent.

        Args:
            x: images [B, C, H, W] in [-1, 1].
            noise: for each level normals [B, latents[t]] or keys [B, 2].
        """

        def conditional(net):
            return lambda z: net(z).chunk(2, dim=1)

        return markov_bound(
            self.likelihood.centred(x).flatten(1),
            [conditional(net) for net in self.up],
            [conditional(net) for net in self.down],
            lambda z: self.likelihood(x, self.pixels(z)),
            noise,
        )

    def loss(self, batch: Batch) -> Tensor:
        """-ELBO in bits per dimension, the levels as the settings weigh them."""
        levels = range(len(self.config.latents))
        bound = self.bound(batch.x, [batch.stream(i) for i in levels])
        costs = [*bound.consistency.unbind(1), bound.prior]
        above = sum(free(cost, self.config.free_bits) for cost in costs)
        total = bound.reconstruction + warm(self.config, batch.step) * above
        return bits_per_dim(total, self.space.dims)

    @torch.no_grad()
    def sample(self, keys: Tensor) -> Tensor:
        """Mean images [B, C, H, W] of draws from the prior, one for each key [B, 2]."""
        top = self.config.latents[-1]
        z = standard_normal(keys, torch.empty(len(keys), top, device=keys.device))
        for t in reversed(range(len(self.down))):
            mean, log_var = self.down[t](z).chunk(2, dim=1)
            z, _ = gaussian_sample_kl(mean, log_var, fold_in(keys, t))
        return self.likelihood.mean(self.pixels(z))
