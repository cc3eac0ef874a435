"""Variational auto-encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..elbo import bits_per_dim, importance_weighted
from ..losses import (
    bernoulli,
    categorical,
    discretised_logistic,
    gaussian_log_prob,
    gaussian_sample_kl,
)
from .family import Batch, Member, Space, check_size, log_histograms, require

DECODERS = ("categorical", "bernoulli", "logistic", "gaussian")


@dataclass(frozen=True)
class VAEConfig:
    """Settings of ``VAE``.

    Attributes:
        latent: dimension of z.
        decoder: "categorical" (levels), "logistic" (levels, discretised), "bernoulli" (grey as the
            mean of binary pixels), "gaussian" (values, one learned variance) or "auto": categorical
            where pixels times levels are few, else logistic.
        net: "mlp", "conv" (sides a multiple of 4) or "linear" (probabilistic PCA).
        hidden: width of the networks.
        dropout: dropout probability.
        free_bits: nats of the KL, on average over the batch, that cost nothing.
        kl_warmup: steps over which the weight of the KL grows from 0 to 1.
    """

    latent: int = 16
    decoder: str = "auto"
    net: str = "mlp"
    hidden: int = 256
    dropout: float = 0.2
    free_bits: float = 0.0
    kl_warmup: int = 0

    def __post_init__(self) -> None:
        require(self, 1, "latent", "hidden")
        require(self, 0, "free_bits", "kl_warmup")
        require(self, 0, "dropout", below=1)


class Likelihood(nn.Module):
    """log p(x | output) of images, by one of ``DECODERS``, or "auto".

    Outputs are relative to the best constant one, that of independent pixels; so training starts
    where their histograms are known, and has the latents to learn only.
    """

    log_scale: nn.Parameter
    mean_image: Tensor
    constant: Tensor

    def __init__(self, kind: str, space: Space):
        super().__init__()
        if kind == "auto":
            kind = "categorical" if space.few_levels else "logistic"
        if kind not in DECODERS:
            raise ValueError(f"decoder: expected one of auto, {', '.join(DECODERS)}, got {kind!r}")
        self.kind, self.space = kind, space
        scale = nn.Parameter(torch.tensor(-1.0)) if kind in DECODERS[2:] else None
        self.log_scale = scale  # type: ignore[assignment]  # only those that have it read it
        self.register_buffer("mean_image", torch.zeros(space.dims))
        self.register_buffer("constant", torch.zeros(space.dims * self.outputs))

    @property
    def outputs(self) -> int:
        """Numbers that the network has to give for each pixel."""
        return self.space.depth if self.kind == "categorical" else 1

    def check_size(self, hidden: int) -> None:
        """Raise if a layer of ``hidden`` inputs cannot give all outputs."""
        check_size(
            "decoder", self.space, self.outputs, hidden, "decoder logistic (--decoder logistic)"
        )

    def fit(self, images: Tensor) -> None:
        """Take the mean and the histogram of each pixel of images [N, C, H, W]."""
        self.mean_image.copy_(images.mean(0).flatten())
        best = self.mean_image
        if self.kind == "categorical":
            best = log_histograms(images, self.space).flatten()
        elif self.kind == "bernoulli":
            best = torch.special.logit((best + 1) / 2, eps=1e-3)
        self.constant.copy_(best)

    def centred(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] without the mean image: what encoders are shown."""
        return x - self.mean_image.reshape(self.space.shape)

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """[B] in nats; x [B, C, H, W] in [-1, 1], output [B, dims * outputs]."""
        flat, output = x.flatten(1), output + self.constant
        if self.kind == "categorical":
            logits = output.reshape(len(x), -1, self.space.depth)
            return categorical(self.space.levels(flat), logits)
        if self.kind == "bernoulli":
            return bernoulli((flat + 1) / 2, output)
        if self.kind == "logistic":
            return discretised_logistic(flat, output, self.log_scale, self.space.depth)
        return gaussian_log_prob(flat, output, 2 * self.log_scale)

    def mean(self, output: Tensor) -> Tensor:
        """E[x | output], [B, C, H, W] in [-1, 1]."""
        output = output + self.constant
        if self.kind == "categorical":
            logits = output.reshape(len(output), -1, self.space.depth)
            output = logits.softmax(-1) @ self.space.values.to(output)
        elif self.kind == "bernoulli":
            output = 2 * torch.sigmoid(output) - 1
        return output.reshape(-1, *self.space.shape)


def mlp(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )


class VAE(Member):
    """Variational auto-encoder with prior N(0, I).

    Kingma and Welling 2014, "Auto-encoding variational Bayes".
    """

    Config = VAEConfig
    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: VAEConfig, space: Space):
        super().__init__(config, space)
        self.likelihood = Likelihood(config.decoder, space)
        outputs = space.dims * self.likelihood.outputs
        if config.net == "linear":
            self.encoder = nn.Linear(space.dims, config.latent)
            self.log_var = nn.Parameter(torch.zeros(config.latent))
            self.decoder = nn.Linear(config.latent, outputs)
        elif config.net == "mlp":
            self.likelihood.check_size(config.hidden)
            self.encoder = mlp(space.dims, config.hidden, 2 * config.latent, config.dropout)
            self.decoder = mlp(config.latent, config.hidden, outputs, config.dropout)
        elif config.net == "conv":
            self.encoder, self.decoder = conv(config, space, self.likelihood.outputs)
        else:
            raise ValueError(f'net: expected "mlp", "conv" or "linear", got {config.net!r}')

    def fit(self, images: Tensor) -> None:
        self.likelihood.fit(images)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [B, latent] of q(z | x)."""
        x = self.likelihood.centred(x)
        if self.config.net == "linear":
            mean = self.encoder(x.flatten(1))
            return mean, self.log_var.expand_as(mean)
        return self.encoder(x if self.config.net == "conv" else x.flatten(1)).chunk(2, dim=1)

    def terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """-log p(x | z) and KL(q(z | x) || N(0, I)) at one z, both [B] in nats.

        Args:
            x: images [B, C, H, W] in [-1, 1].
            noise: normals [B, latent], or keys [B, 2].
        """
        z, kl = gaussian_sample_kl(*self.encode(x), noise)
        return -self.likelihood(x, self.decoder(z)), kl

    def loss(self, batch: Batch) -> Tensor:
        """-ELBO in bits per dimension, the KL as the settings weigh it."""
        reconstruction, kl = self.terms(batch.x, batch.stream(0))
        total = reconstruction + warm(self.config, batch.step) * free(kl, self.config.free_bits)
        return bits_per_dim(total, self.space.dims)

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z_k) - log q(z_k | x) for K samples, [K, B].

        Args:
            x: images [B, C, H, W].
            noise: normals [K, B, latent].
        """
        mean, log_var = self.encode(x)
        zero, rows = torch.zeros_like(mean), []
        for eps in noise:
            z, _ = gaussian_sample_kl(mean, log_var, eps)
            joint = self.likelihood(x, self.decoder(z)) + gaussian_log_prob(z, zero, zero)
            rows.append(joint - gaussian_log_prob(z, mean, log_var))
        return torch.stack(rows)

    def iwae(self, x: Tensor, noise: Tensor) -> Tensor:
        """The importance-weighted bound with K samples, [B] in nats; arguments as above."""
        return importance_weighted(self.log_weights(x, noise))

    def decode(self, z: Tensor) -> Tensor:
        """Mean images [B, C, H, W] of latents [B, latent], such as draws from N(0, I)."""
        return self.likelihood.mean(self.decoder(z))


def warm(config, step: int) -> float:
    """Weight of the KL: grows to 1 over ``kl_warmup`` steps (Bowman et al. 2016, sec. 3.1)."""
    return min(1.0, step / config.kl_warmup) if config.kl_warmup else 1.0


def free(kl: Tensor, nats: float) -> Tensor:
    """KL [B], of which the first ``nats`` on batch average have no gradient. Kingma et al. 2016,
    "Improved variational inference with inverse autoregressive flow", eq. 15."""
    return torch.where(kl.detach().mean() > nats, kl, nats) if nats else kl


def conv(config: VAEConfig, space: Space, outputs: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of strided convolutions, two levels down."""
    channels, height, width = space.shape
    if height % 4 or width % 4:
        raise ValueError(
            f"net: expected sides that are multiples of 4 for conv, got {height}x{width}"
        )
    wide, low = config.hidden // 4, (height // 4, width // 4)
    inner = 2 * wide * math.prod(low)
    encoder = nn.Sequential(
        nn.Conv2d(channels, wide, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Dropout(config.dropout),
        nn.Linear(inner, 2 * config.latent),
    )
    decoder = nn.Sequential(
        nn.Linear(config.latent, inner),
        nn.SiLU(),
        nn.Dropout(config.dropout),
        nn.Unflatten(1, (2 * wide, *low)),
        nn.ConvTranspose2d(2 * wide, wide, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.ConvTranspose2d(wide, channels * outputs, 4, stride=2, padding=1),
        _PixelsFirst(channels, outputs),
    )
    return encoder, decoder


class _PixelsFirst(nn.Module):
    """[B, C K, H, W] to [B, C H W K]: the numbers of a pixel next to each other."""

    def __init__(self, channels: int, outputs: int):
        super().__init__()
        self.channels, self.outputs = channels, outputs

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (self.channels, self.outputs))
        return x.movedim(2, -1).flatten(1)
