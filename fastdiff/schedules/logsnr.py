"""A variance-preserving schedule given by its log signal-to-noise ratio."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arguments import function
from .base import Schedule, namespace, number, reals, softplus


@dataclass(frozen=True, repr=False)
class LogSNR(Schedule):
    """alpha^2 = sigmoid(-gamma), sigma^2 = sigmoid(gamma), gamma(t) = -log SNR = -2 lam, t in [0,
    1].

    Kingma et al. 2021, "Variational diffusion models", sec. 3.2.

    Args:
        gamma: an increasing function of t that maps arrays to arrays, or ``(gamma(0), gamma(1))``
            for the linear one.
        dgamma: its derivative, for the "flow" prediction; a fourth-order difference if left out.
    """

    gamma: Callable | tuple = (-13.3, 5.0)
    dgamma: Callable | None = None

    def __post_init__(self):
        if callable(self.gamma):
            ends = reals("gamma", [self.gamma(np.asarray(t)) for t in (0.0, 1.0)]).ravel()
        else:
            try:
                low, high = self.gamma
            except (TypeError, ValueError):
                raise TypeError(
                    f"LogSNR: gamma must be a callable or a pair of numbers, got {self.gamma!r}"
                ) from None
            number("LogSNR", gamma_0=low, gamma_1=high)
            ends = np.asarray([low, high], np.float64)
            object.__setattr__(self, "gamma", (float(low), float(high)))
        function("dgamma", self.dgamma, optional=True)
        if ends.size != 2 or not (np.isfinite(ends).all() and ends[0] < ends[1]):
            raise ValueError(
                f"LogSNR: gamma must be finite and increase from t = 0 to t = 1, "
                f"got {ends.tolist()}"
            )
        # only the straight line has a clean end (at t = -inf); a general function need not be
        # defined out there
        object.__setattr__(self, "t_clean", None if callable(self.gamma) else -np.inf)

    def _gamma(self, t):
        t = namespace(t)[1]
        if callable(self.gamma):
            return self.gamma(t)
        return self.gamma[0] + (self.gamma[1] - self.gamma[0]) * t

    def _dgamma(self, t):
        t = namespace(t)[1]
        if self.dgamma is not None:
            return self.dgamma(t)
        if not callable(self.gamma):
            return self.gamma[1] - self.gamma[0] + 0 * t
        h = 1e-3
        near, far = (
            self.gamma(t + h) - self.gamma(t - h),
            self.gamma(t + 2 * h) - self.gamma(t - 2 * h),
        )
        return (8 * near - far) / (12 * h)

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.exp(-0.5 * softplus(xp, self._gamma(t)))

    def sigma(self, t):
        xp, t = namespace(t)
        return xp.exp(-0.5 * softplus(xp, -self._gamma(t)))

    def dalpha(self, t):
        return -0.5 * self._dgamma(t) * self.sigma(t) ** 2 * self.alpha(t)

    def dsigma(self, t):
        return 0.5 * self._dgamma(t) * self.alpha(t) ** 2 * self.sigma(t)

    def lam(self, t):
        return -0.5 * self._gamma(t)

    def t_of_lam(self, lam):
        target = -2 * reals("lam", lam)
        if not callable(self.gamma):
            return (target - self.gamma[0]) / (self.gamma[1] - self.gamma[0])
        low, high = np.zeros_like(target), np.ones_like(target)
        for _ in range(60):  # bisection: nothing is known of the function but that it increases
            middle = 0.5 * (low + high)
            above = np.asarray(self.gamma(middle)) > target
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (0.5 * (low + high))[()]

    def __repr__(self):
        name = getattr(self.gamma, "__name__", self.gamma)  # no address: tables compare this
        return f"LogSNR(gamma={name})"

    @property
    def t_smallest(self):
        return self.t_min
