"""The bound of a Markovian hierarchical VAE, and of a diffusion model seen as one.

ELBO = E_q[log p(x | z_1) + sum_t log p(z_t | z_{t+1}) + log p(z_T) - sum_t log q(z_t | z_{t-1})]

with z_0 = x: Luo 2022, "Understanding diffusion models", "Hierarchical variational autoencoders".
The middle terms are log-ratios at one sample, never KLs averaged over the two neighbours of z_t:
given z_{t-1}, z_t and z_{t+1} depend on each other, so that the average of those KLs is not the
bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arguments import describe, function, instance, sequence, tensor
from ..ops import gaussian_log_prob, gaussian_sample_kl
from ..schedules import Schedule
from .diffusion import Decoder, Denoiser, Estimate
from .posterior import Chain

Conditional = Callable[[Tensor], tuple[Tensor, Tensor]]  # z -> mean, log-variance


@dataclass(frozen=True)
class MarkovBound:
    """The terms of -ELBO of each sample, in nats.

    Attributes:
        reconstruction: -log p(x | z_1), [B].
        consistency: [B, T - 1], log q(z_t | z_{t-1}) - log p(z_t | z_{t+1}) for t = 1..T-1; the
            mean over q is the information that level t costs, a single sample can be negative.
        prior: KL(q(z_T | z_{T-1}) || N(0, I)), [B].
    """

    reconstruction: Tensor
    consistency: Tensor
    prior: Tensor

    @property
    def total(self) -> Tensor:
        """-ELBO, [B]."""
        return self.reconstruction + self.consistency.sum(1) + self.prior


def markov_bound(
    x: Tensor,
    encoders: Sequence[Conditional],
    decoders: Sequence[Conditional],
    likelihood: Callable[[Tensor], Tensor],
    noise: Sequence[Tensor],
) -> MarkovBound:
    """The bound, with one sample of every latent.

    Args:
        x: data [B, ...].
        encoders: T conditionals: ``encoders[t](z_t)`` parametrises q(z_{t+1} | z_t), z_0 = x.
        decoders: T - 1 conditionals: ``decoders[t](z_{t+2})`` parametrises p(z_{t+1} | z_{t+2}).
        likelihood: log p(x | z_1) from z_1, [B].
        noise: T entries, each normals of the latent's shape or keys [B, 2].
    """
    tensor("x", x, dims=1)
    for name, value in {"encoders": encoders, "decoders": decoders, "noise": noise}.items():
        sequence(name, value, "a sequence, with an entry for each latent")
    function("likelihood", likelihood)
    if not len(encoders):
        raise ValueError("encoders: expected at least one, got none")
    if len(decoders) != len(encoders) - 1 or len(noise) != len(encoders):
        raise ValueError(
            f"encoders, decoders, noise: expected T, T - 1 and T, "
            f"got {len(encoders)}, {len(decoders)} and {len(noise)}"
        )
    z, latents, log_q = x, [], []
    for encode, eps in zip(encoders[:-1], noise[:-1], strict=True):
        mean, log_var = _conditional("encoders", encode, z)
        z, _ = gaussian_sample_kl(mean, log_var, eps)
        latents.append(z)
        log_q.append(gaussian_log_prob(z, mean, log_var))
    top, prior = gaussian_sample_kl(*_conditional("encoders", encoders[-1], z), noise[-1])
    latents.append(top)
    ratios = [
        log_q[t] - gaussian_log_prob(latents[t], *_conditional("decoders", decode, latents[t + 1]))
        for t, decode in enumerate(decoders)
    ]
    consistency = torch.stack(ratios, 1) if ratios else x.new_zeros(len(x), 0)
    reconstruction = likelihood(latents[0])
    tensor("likelihood", reconstruction, shape=(len(x),))
    return MarkovBound(-reconstruction, consistency, prior)


def _conditional(name: str, conditional: Conditional, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance."""
    function(name, conditional)
    made = conditional(z)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        expected = "functions that return (mean, log-variance)"
        raise TypeError(f"{name}: expected {expected}, got {describe(made)}")
    return made


def diffusion_as_markov(
    denoise: Denoiser,
    x0: Tensor,
    times: Tensor,
    noise: Sequence[Tensor],
    *,
    schedule: Schedule,
    variance,
    decoder: Decoder,
) -> MarkovBound:
    """The same bound as ``elbo.bound``, in its consistency form: the diffusion model as the
    hierarchical VAE it is.

    The three restrictions: latents of the data's dimension; an encoder that only scales and adds
    noise, q(x_t | x_s) = N((alpha_t / alpha_s) x_s, sigma_{t|s}^2); and a last latent that is
    (nearly) N(0, I). Arguments as there, but ``noise`` drives the chain: T tensors of x0's shape,
    or T entries of keys.
    """
    chain = Chain(schedule, times)
    tensor("x0", x0, dims=1)
    for name, value in {"denoise": denoise, "variance": variance, "decoder": decoder}.items():
        function(name, value)
    sequence("noise", noise, f"{len(chain)} entries, one for each latent", len(chain))

    def estimated(x: Tensor, i: int) -> Estimate:
        estimate = denoise(x, chain.time(i, x))
        return instance("denoise", estimate, Estimate, "a function that returns an Estimate")

    def diffuse(i: int) -> Conditional:
        below = chain.alpha(i - 1) if i else 1.0
        scale, log_var = chain.alpha(i) / below, torch.log(chain.step(i).forward_var)
        return lambda x: (scale * x, log_var.to(x).expand_as(x))

    def reverse(i: int) -> Conditional:
        q = chain.step(i)

        def conditional(x: Tensor) -> tuple[Tensor, Tensor]:
            estimate = estimated(x, i)
            log_var = variance(q, i, estimate.fraction)
            tensor("variance", log_var)
            return q.a * x + q.b * estimate.x0, log_var.to(x).expand_as(x)

        return conditional

    def likelihood(x: Tensor) -> Tensor:
        estimate = estimated(x, 0)
        return decoder(x0, estimate.x0, variance(chain.step(0), 0, estimate.fraction))

    levels = range(len(chain))
    return markov_bound(
        x0, [diffuse(i) for i in levels], [reverse(i) for i in levels[1:]], likelihood, noise
    )


def importance_weighted(log_weights: Tensor) -> Tensor:
    """log 1/K sum_k w_k of each sample, [B]: a bound that is tighter the larger K.

    Burda et al. 2016, "Importance weighted autoencoders", eq. 8; K = 1 is the ELBO.

    Args:
        log_weights: log p(x, z_k) - log q(z_k | x), [K, B].
    """
    tensor("log_weights", log_weights)
    if log_weights.dim() != 2 or not len(log_weights):
        expected = "a tensor [K, B] with K > 0"
        raise ValueError(f"log_weights: expected {expected}, got {describe(log_weights)}")
    return log_weights.logsumexp(0) - math.log(len(log_weights))
