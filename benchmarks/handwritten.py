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


def unipc_2_coefficients(alpha, sigma, prediction):
    """x0 = k0 x + k1 o;  corrected = k2 anchor + k3 x0_1 + k4 x0_2 + k5 x0;
    x' = k6 corrected + k7 x0 + k8 x0_1. The anchor is the last corrected state, x0_1 and x0_2 are
    the estimates before x0. Zhao et al. 2023, algorithms 1 and 2, B(h) = e^h - 1."""
    steps = len(alpha) - 1
    with np.errstate(divide="ignore"):
        lam = np.log(alpha) - np.log(sigma)
    k = np.zeros((steps, 9))
    k[:, 0], k[:, 1] = _x0(alpha[:-1], sigma[:-1], prediction)
    k[0, 2] = 1.0  # there is nothing to correct yet
    for i in range(steps):
        h, keep = lam[i + 1] - lam[i], sigma[i + 1] / sigma[i]
        weight = -alpha[i + 1] * np.expm1(-h)
        r = (lam[i - 1] - lam[i]) / h if 0 < i < steps - 1 else np.inf  # inf: first order
        k[i, 6:] = keep, weight * (1 - 0.5 / r), weight * 0.5 / r
        if i == steps - 1:
            continue
        past, new = 0.0, 0.5
        if r != np.inf:  # exact for x0 linear in lam, and for its square
            moment = np.expm1(-h) / -h - 1
            moments = moment, 2 * (moment / -h - 0.5)
            past, new = np.linalg.solve([[1, 1], [r, 1]], moments) / np.expm1(-h)
        k[i + 1, 2:6] = (
            keep, weight * (1 - past / r - new), weight * past / r, weight * new
        )  # fmt: skip
    return k


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


def unipc_2(add, k, x, o, kept):
    anchor, x0_1, x0_2 = kept
    x0 = add(x * k[0], (k[1], o))
    corrected = add(anchor * k[2], (k[3], x0_1), (k[4], x0_2), (k[5], x0))
    return add(torch.mul(corrected, k[6], out=x), (k[7], x0), (k[8], x0_1)), (corrected, x0, x0_1)


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
    memory: Callable = lambda x: None  # what it remembers before the first step
    draws: bool = False

    def lower(self, work, steps: int) -> list[list[float]]:
        """The coefficients of every step."""
        ends = levels(work.schedule.betas, steps)
        return self.coefficients(*ends, work.prediction).tolist()


MATHS = {
    "ddim": Maths(ddim, ddim_coefficients),
    "dpmpp_2m": Maths(dpmpp_2m, dpmpp_2m_coefficients, torch.zeros_like),
    "ddpm": Maths(ddpm, ddpm_coefficients, draws=True),
    "unipc_2": Maths(
        unipc_2,
        unipc_2_coefficients,
        lambda x: (x.clone(), torch.zeros_like(x), torch.zeros_like(x)),
    ),
}
