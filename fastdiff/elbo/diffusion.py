"""The evidence lower bound of a diffusion model, term by term.

ELBO = E log p(x0 | x_1) - KL(q(x_T | x0) || N(0, I)) - sum_t E KL(q(x_s | x_t, x0) || p(x_s | x_t))

over T noise levels t_1 < ... < t_T: reconstruction, prior matching and denoising matching (Luo
2022, "Understanding diffusion models"; Ho et al. 2020, eq. 5). Everything in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..arguments import alike, function, instance, number, on_device, sequence, tensor, whole
from ..losses.batch import per_sample, standard_normal
from ..noise import fold_in
from ..ops import discretised_gaussian, gaussian_kl
from ..parameterization import check_prediction, read
from ..schedules import Schedule
from ..schedules.base import check_schedule
from ..typing import Prediction
from .bits import bits_per_dim
from .posterior import Chain, Posterior


class Estimate(NamedTuple):
    """What a model says about x_t: x0_hat [B, ...], and the fraction of ``LearnedRange``."""

    x0: Tensor
    fraction: Tensor | None = None


Denoiser = Callable[[Tensor, Tensor], Estimate]  # (x_t [B, ...], t [B]) -> Estimate
Decoder = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x0, mean, log_var) -> log p [B]


@dataclass(frozen=True)
class Bound:
    """The terms of -ELBO of each sample, in nats.

    Attributes:
        reconstruction: -log p(x0 | x_1), [B].
        prior: KL(q(x_T | x0) || N(0, I)), [B].
        denoising: [B, T - 1], the least noisy step first.
    """

    reconstruction: Tensor
    prior: Tensor
    denoising: Tensor

    @property
    def total(self) -> Tensor:
        """-ELBO, [B]."""
        return self.reconstruction + self.prior + self.denoising.sum(1)

    def table(self) -> Tensor:
        """[T] mean of each step's term over the batch: the reconstruction, then the KLs."""
        return torch.cat([self.reconstruction[:, None], self.denoising], 1).mean(0)

    def bits_per_dim(self, dims: int) -> Tensor:
        """-ELBO in bits per dimension, [B]."""
        return bits_per_dim(self.total, dims)


def prior_kl(x0: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """KL(q(x_t | x0) || N(0, I)), [B]; ``t`` is a scalar tensor."""
    tensor("x0", x0, dims=1)
    check_schedule(schedule)
    tensor("t", t, shape=())
    log_var = 2 * torch.log(schedule.sigma(t))
    return gaussian_kl(schedule.alpha(t) * x0, log_var, torch.zeros(()), torch.zeros(()))


def denoising_kl(x0: Tensor, x0_hat: Tensor, q: Posterior, log_var: Tensor) -> Tensor:
    """KL(q(x_s | x_t, x0) || N(a x_t + b x0_hat, e^log_var)), [B].

    1/2 sum[log(tau^2 / var) + var / tau^2 - 1 + b^2 (x0 - x0_hat)^2 / tau^2]; with tau^2 = var it
    is 1/2 (SNR_s - SNR_t) ||x0 - x0_hat||^2. The means differ in b x0 alone.
    """
    tensor("x0", x0, dims=1)
    instance("q", q, Posterior, "a Posterior such as posterior(schedule, t, s)")
    tensor("log_var", log_var)
    if log_var.is_meta:
        on_device("log_var", log_var, "x0", x0)
    alike("x0_hat", x0_hat, "x0", x0)
    b, log_q, log_p = (per_sample(v, x0) for v in (q.b, torch.log(q.var), log_var))
    return gaussian_kl(b * x0, log_q, b * x0_hat, log_p)


def estimator(model, schedule: Schedule, prediction: Prediction, clip=None, **cond) -> Denoiser:
    """The denoiser of a network.

    Args:
        model: model(x, model time, **cond) -> the prediction, of x's shape; or of twice the
            channels, the second half then being the fraction of ``LearnedRange``, from -1 to 1.
        schedule, prediction: what it was trained for.
        clip: a bound on |x0_hat|, or None.
        cond: its conditions.
    """
    function("model", model)
    check_prediction(prediction, schedule)
    if clip is not None:
        number("clip", clip, above=0)

    def denoise(x: Tensor, t: Tensor) -> Estimate:
        scale = per_sample(schedule.input_scale(t).to(x.dtype), x)
        out, fraction = model(scale * x, schedule.model_time(t), **cond), None
        tensor("model", out, dims=2)
        if out.shape[1] == 2 * x.shape[1]:
            out, signed = out.chunk(2, dim=1)
            fraction = (signed + 1) / 2
        reading = read(prediction, schedule, t)
        x0 = per_sample(reading.x0_x, x) * x + per_sample(reading.x0_out, x) * out
        return Estimate(x0 if clip is None else x0.clamp(-clip, clip), fraction)

    return denoise


def levels_decoder(depth: int) -> Decoder:
    """log p(x0 | x_1) of grey levels in [-1, 1]: a Gaussian cut into bins (Ho et al., eq. 13)."""
    whole("depth", depth, least=2)

    def decode(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        return discretised_gaussian(x0, mean, log_var.to(x0), depth)

    return decode


def bound(
    denoise: Denoiser,
    x0: Tensor,
    times: Tensor,
    noise: Tensor | Sequence[Tensor],
    *,
    schedule: Schedule,
    variance,
    decoder: Decoder,
) -> Bound:
    """The bound on each sample's log-likelihood, with one noise per level.

    Args:
        denoise: the model, see ``estimator``.
        x0: data [B, ...].
        times: [T] increasing times with sigma > 0; the last is the prior's.
        noise: keys [B, 2], or T tensors of the shape of x0.
        schedule: the noise schedule.
        variance: ``Small()``, ``Large()``, ``LearnedRange()`` or ``Optimal(mse)``.
        decoder: log p(x0 | x_1) from (x0, mean, log_var), such as ``levels_decoder``.
    """
    chain, kls = Chain(schedule, times), []
    for name, value in {"variance": variance, "decoder": decoder}.items():
        function(name, value)
    for i, estimate in enumerate(_estimates(denoise, x0, chain, noise)):
        q = chain.step(i)
        log_var = variance(q, i, estimate.fraction)
        tensor("variance", log_var)
        if i == 0:
            reconstruction = -decoder(x0, estimate.x0, log_var)
        else:
            kls.append(denoising_kl(x0, estimate.x0, q, log_var))
    denoising = torch.stack(kls, 1) if kls else x0.new_zeros(len(x0), 0)
    return Bound(reconstruction, prior_kl(x0, schedule, chain.times[-1]), denoising)


def mean_squared_errors(
    denoise: Denoiser, x0: Tensor, times: Tensor, noise, *, schedule: Schedule
) -> Tensor:
    """[T] mean of (x0 - x0_hat)^2 over batch and dimensions; arguments as in ``bound``."""
    estimates = _estimates(denoise, x0, Chain(schedule, times), noise)
    return torch.stack([(estimate.x0 - x0).square().mean() for estimate in estimates])


def _estimates(denoise, x0, chain, noise):
    """The model at a noisy x0 on each level of the chain, the cleanest first."""
    function("denoise", denoise)
    tensor("x0", x0, dims=1)
    keys = isinstance(noise, Tensor) and not noise.is_floating_point()
    if keys:
        tensor("noise", noise, floating=False)
    else:
        expected = f"int64 keys [{len(x0)}, 2] or {len(chain)} tensors of x0's shape"
        sequence("noise", noise, expected, len(chain))
    for i in range(len(chain)):
        eps = standard_normal(fold_in(noise, i) if keys else noise[i], x0)
        x_t = chain.alpha(i) * x0 + chain.sigma(i) * eps
        estimate = denoise(x_t, chain.time(i, x0))
        instance("denoise", estimate, Estimate, "a function that returns an Estimate")
        yield estimate
