"""Quantiles of the Beta distribution, in numpy."""

from math import lgamma

import numpy as np

from ..arguments import number
from ..schedules.base import reals


def beta_quantile(p, a, b):
    """Quantile function of the Beta(a, b) distribution, by bisection on the series of its CDF."""
    p = reals("p", p)
    # beyond these the series loses its digits
    a, b = number("a", a, least=1e-6, most=100), number("b", b, least=1e-6, most=100)
    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = _cdf(middle, a, b) > p
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(p <= 0, 0.0, np.where(p >= 1, 1.0, 0.5 * (low + high)))


def _cdf(x, a, b):
    """Power series of the incomplete beta function, on the side where it converges like 2^-k."""
    mirrored = x > 0.5
    left = _series(np.where(mirrored, 0.0, x), a, b)
    return np.where(mirrored, 1 - _series(np.where(mirrored, 1 - x, 0.0), b, a), left)


def _series(y, a, b):
    k = np.arange(56)
    terms = np.cumprod(np.append(1.0, (k[1:] - b) / k[1:])) / (a + k)
    scale = np.exp(lgamma(a + b) - lgamma(a) - lgamma(b))
    return scale * y**a * (y[..., None] ** k @ terms)
