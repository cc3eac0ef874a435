"""A step as one would best write it by hand in PyTorch: coefficients known beforehand, few passes.

The maths is derived here from the betas alone and shares nothing with fastdiff, so that it is also
the float64 reference which all contestants are checked against.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


def timesteps(T: int, steps: int) -> np.ndarray:
    """Trailing spacing: T - 1, and down by T / steps."""
    return np.round(np.arange(T, 0, -T / steps)).astype(np.int64) - 1


def levels(betas, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(alpha, sigma), float64 [steps + 1], at decreasing timesteps and then at clean data."""
    signal = np.cumprod(1 - np.asarray(betas, dtype=np.float64))[timesteps(len(betas), steps)]
    signal = np.append(signal, 1.0)
    return np.sqrt(signal), np.sqrt(1 - signal)


def ddim_coefficients(alpha, sigma, prediction):
    """x' = k0 x + k1 eps."""
    assert prediction == "eps"
    keep = alpha[1:] / alpha[:-1]
    return np.stack([keep, sigma[1:] - keep * sigma[:-1]], axis=1)


def dpmpp_2m_coefficients(alpha, sigma, prediction):
    """x0 = k0 x + k1 o;  x' = k2 x + k3 x0 + k4 x0_previous."""
    with np.errstate(divide="ignore"):
        h = np.diff(np.log(alpha) - np.log(sigma))
    weight = -alpha[1:] * np.expm1(-h)
    half = np.zeros_like(h)  # first order on the first step and to clean data
    half[1:-1] = h[1:-1] / (2 * h[:-2])
    k0, k1 = _x0(alpha[:-1], sigma[:-1], prediction)
    keep = sigma[1:] / sigma[:-1]
    return np.stack([k0, k1, keep, weight * (1 + half), -weight * half], axis=1)


def ddpm_coefficients(alpha, sigma, prediction):
    """x0 = clip(k0 x + k1 o);  x' = k2 x + k3 x0 + k4 z, z standard normal."""
    keep, variance = alpha[:-1] / alpha[1:], sigma**2
    beta = 1 - keep**2
    k0, k1 = _x0(alpha[:-1], sigma[:-1], prediction)
    mean = keep * variance[1:] / variance[:-1], alpha[1:] * beta / variance[:-1]
    deviation = np.sqrt(beta * variance[1:] / variance[:-1])
    return np.stack([k0, k1, *mean, deviation], axis=1)


def _x0(alpha, sigma, prediction):
    """k0, k1 of x0 = k0 x + k1 o, where the model's output o is eps or v."""
    return (1 / alpha, -sigma / alpha) if prediction == "eps" else (alpha, -sigma)


# A step is step(add, k, x, o, kept) -> (x', kept'): o is the model output after guidance, ``kept``
# what the solver remembers, or the noise if the caller draws it; ``add(a, (k, b), ...)`` is
# a + k b + ...


def ddim(add, k, x, o, _):
    return add(x.mul_(k[0]), (k[1], o)), None


def dpmpp_2m(add, k, x, o, previous):
    x0 = add(x * k[0], (k[1], o))
    return add(x.mul_(k[2]), (k[3], x0), (k[4], previous)), x0


def ddpm(add, k, x, o, z):
    x0 = add(x * k[0], (k[1], o)).clamp_(-1.0, 1.0)
    z = torch.randn_like(x) if z is None else z
    return add(x.mul_(k[2]), (k[3], x0), (k[4], z)), None


def add_in_place(total, *terms):
    """Eager mode: one pass a term and no temporary; the coefficients are Python numbers."""
    for k, term in terms:
        total.add_(term, alpha=k)
    return total


def add(total, *terms):
    """For torch.compile, which fuses; the coefficients are 0-dim tensors, so nothing recompiles."""
    for k, term in terms:
        total = total + k * term
    return total


@dataclass(frozen=True)
class Maths:
    step: Callable
    coefficients: Callable
    remembers: bool = False
    draws: bool = False

    def lower(self, work, steps: int) -> list[list[float]]:
        """The coefficients of every step."""
        ends = levels(work.schedule.betas, steps)
        return self.coefficients(*ends, work.prediction).tolist()

    def memory(self, x: torch.Tensor) -> torch.Tensor | None:
        return torch.zeros_like(x) if self.remembers else None


MATHS = {
    "ddim": Maths(ddim, ddim_coefficients),
    "dpmpp_2m": Maths(dpmpp_2m, dpmpp_2m_coefficients, remembers=True),
    "ddpm": Maths(ddpm, ddpm_coefficients, draws=True),
}
