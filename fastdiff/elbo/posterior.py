"""q(x_s | x_t, x0), and the variances a model of it can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..arguments import alike, describe, tensor
from ..ops.library import require_memory
from ..schedules import Schedule
from ..schedules.base import check_schedule, reals


class Posterior(NamedTuple):
    """q(x_s | x_t, x0) = N(a x_t + b x0, var I), and the variance of q(x_t | x_s).

    Luo 2022, "Understanding diffusion models", "Variational diffusion models"; here for every
    alpha and sigma.
    """

    a: Tensor
    b: Tensor
    var: Tensor
    forward_var: Tensor


def posterior(schedule: Schedule, t: Tensor, s: Tensor) -> Posterior:
    """The posterior of the cleaner time ``s`` given ``t``; tensors of one shape, sigma(t) > 0.

    With e^-h = alpha_t sigma_s / (alpha_s sigma_t): a = (sigma_s / sigma_t) e^-h,
    b = alpha_s (1 - e^-2h), var = sigma_s^2 (1 - e^-2h). Finite at alpha_t = 0 and sigma_s = 0.
    """
    check_schedule(schedule)
    tensor("t", t)
    alike("s", s, "t", t)
    alpha_t, sigma_t = schedule.alpha(t), schedule.sigma(t)
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
    decay = alpha_t * sigma_s / (alpha_s * sigma_t)
    grown = -torch.expm1(2 * (schedule.lam(t) - schedule.lam(s)))
    return Posterior(
        a=sigma_s / sigma_t * decay,
        b=alpha_s * grown,
        var=sigma_s.square() * grown,
        forward_var=sigma_t.square() * grown,
    )


@dataclass(frozen=True, eq=False)
class Chain:
    """T increasing times of a schedule, seen as T latents over the data.

    Args:
        schedule: the noise schedule.
        times: [T], sigma > 0 at all of them; kept in float64 on the host.
    """

    schedule: Schedule
    times: Tensor

    def __post_init__(self) -> None:
        check_schedule(self.schedule)
        times = _on_host(self.times)
        if times.dim() != 1 or not len(times) or not bool((times[1:] > times[:-1]).all()):
            raise ValueError(f"times: expected a [T] tensor of increasing times, got {times}")
        low, high = self.schedule.t_min, self.schedule.t_limit
        if not bool(((times >= low) & (times <= high)).all()):
            raise ValueError(f"times: expected them in [{low:g}, {high:g}], got {times}")
        if not bool((self.schedule.sigma(times) > 0).all()):
            raise ValueError(f"times: expected sigma > 0 at each of them, got {times}")
        object.__setattr__(self, "times", times)

    def __len__(self) -> int:
        return len(self.times)

    def time(self, i: int, x: Tensor) -> Tensor:
        """[B] time of level i, in the dtype and on the device of x."""
        return self.times[i].to(x).expand(len(x))

    def alpha(self, i: int) -> Tensor:
        return self.schedule.alpha(self.times[i])

    def sigma(self, i: int) -> Tensor:
        return self.schedule.sigma(self.times[i])

    def step(self, i: int) -> Posterior:
        """q of the step down from level i, float64 scalars.

        From level 0 that is the step to clean data, q = x0 itself. A model of it needs a variance
        nevertheless: ``var`` is then that of the step above (Nichol and Dhariwal 2021 clip so), or
        of the forward process where there is none.
        """
        if i > 0:
            return posterior(self.schedule, self.times[i], self.times[i - 1])
        forward = self.sigma(0).square()
        var = self.step(1).var if len(self) > 1 else forward
        one = torch.ones_like(forward)
        return Posterior(a=0 * one, b=one, var=var, forward_var=forward)


def _on_host(times) -> Tensor:
    if not isinstance(times, Tensor):
        return torch.as_tensor(reals("times", times))
    tensor("times", times, floating=False)
    require_memory(times=times)
    return times.detach().to("cpu", torch.float64)


# The variance tau^2 of the model p(x_s | x_t): each is called with q, the level that the step
# leaves and the network's fraction, and returns log tau^2, a scalar or one number per element.


@dataclass(frozen=True)
class Small:
    """That of q(x_s | x_t, x0): optimal for data of one point."""

    def __call__(self, q: Posterior, level: int, fraction: Tensor | None = None) -> Tensor:
        return torch.log(q.var)


@dataclass(frozen=True)
class Large:
    """That of q(x_t | x_s): optimal for N(0, I) data."""

    def __call__(self, q: Posterior, level: int, fraction: Tensor | None = None) -> Tensor:
        return torch.log(q.forward_var)


@dataclass(frozen=True)
class LearnedRange:
    """Between the two on a logarithmic scale, at the network's fraction of each element. Nichol
    and Dhariwal 2021, "Improved denoising diffusion probabilistic models", eq. 15."""

    def __call__(self, q: Posterior, level: int, fraction: Tensor | None = None) -> Tensor:
        if fraction is None:
            raise ValueError("fraction: expected the network's output, got a model without one")
        return fraction * torch.log(q.forward_var) + (1 - fraction) * torch.log(q.var)


@dataclass(frozen=True, eq=False)
class Optimal:
    """var + b^2 E|x0 - x0_hat|^2 / D, the best isotropic one. Bao et al. 2022, "Analytic-DPM",
    theorem 1.

    Args:
        mse: [T] mean squared error of x0_hat per dimension at each level, the cleanest first
            (``fastdiff.elbo.mean_squared_errors``).
    """

    mse: Tensor

    def __post_init__(self) -> None:
        tensor("mse", self.mse)
        if self.mse.dim() != 1:
            raise ValueError(f"mse: expected a tensor [T], got {describe(self.mse)}")

    def __call__(self, q: Posterior, level: int, fraction: Tensor | None = None) -> Tensor:
        own = q.var if level > 0 else 0  # clean data have none of their own
        return torch.log(own + q.b.square() * self.mse[level].to(q.b))
