"""Variance-preserving schedules, and sub-VP. t in [0, 1]; sigma(0) = 0."""

from dataclasses import dataclass

import numpy as np

from .base import Schedule, level, namespace, reals, softplus


@dataclass(frozen=True)
class _LinearRate(Schedule):
    """beta(t) = beta_min + t (beta_max - beta_min), B(t) = its integral, alpha = exp(-B/2)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        level(type(self).__name__, beta_min=self.beta_min, beta_max=self.beta_max)
        if self.beta_max < self.beta_min:
            raise ValueError(
                f"{type(self).__name__}: beta_max must be >= beta_min = {self.beta_min}, "
                f"got {self.beta_max}"
            )

    def rate(self, t):
        """beta(t)."""
        return self.beta_min + namespace(t)[1] * (self.beta_max - self.beta_min)

    def integral(self, t):
        """B(t), the integral of beta from 0 to t."""
        t = namespace(t)[1]
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def t_of_integral(self, B):
        # the root of a quadratic, in the form without cancellation
        B = reals("B", B)
        gap = self.beta_max - self.beta_min
        return 2 * B / (self.beta_min + np.sqrt(self.beta_min**2 + 2 * gap * B))

    def alpha(self, t):
        xp, t = namespace(t)
        return _alpha(xp, self.integral(t))

    @staticmethod
    def _sigma(xp, B):
        """sigma, given B(t)."""
        raise NotImplementedError

    def sigma(self, t):
        xp, t = namespace(t)
        return self._sigma(xp, self.integral(t))

    def marginal(self, t):
        xp, t = namespace(t)
        B = self.integral(t)
        return _alpha(xp, B), self._sigma(xp, B)

    def dalpha(self, t):
        return -0.5 * self.rate(t) * self.alpha(t)


def _alpha(xp, B):
    return xp.exp(-0.5 * B)


@dataclass(frozen=True)
class VPLinear(_LinearRate):
    """DDPM's linear beta in continuous time: alpha = e^{-B/2}, sigma = sqrt(1 - e^{-B}).

    Song et al. 2021, "Score-based generative modeling through SDEs", eqs. 32-33.
    """

    @staticmethod
    def _sigma(xp, B):
        return xp.sqrt(-xp.expm1(-B))

    def dsigma(self, t):
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            return 0.5 * self.rate(t) * xp.exp(-self.integral(t)) / self.sigma(t)

    def lam(self, t):
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            B = self.integral(t)
            # log(e^B - 1) is B to the last digit where e^B would soon overflow
            return -0.5 * xp.where(B > 80, B, xp.log(xp.expm1(xp.clip(B, None, 80))))[()]

    def t_of_lam(self, lam):
        return self.t_of_integral(softplus(np, -2 * reals("lam", lam)))


@dataclass(frozen=True)
class SubVP(_LinearRate):
    """alpha = e^{-B/2}, sigma = 1 - e^{-B}; alpha^2 + sigma^2 < 1 inside. Song et al. 2021, eq.
    29."""

    @staticmethod
    def _sigma(xp, B):
        return -xp.expm1(-B)

    def dsigma(self, t):
        xp, t = namespace(t)
        return self.rate(t) * xp.exp(-self.integral(t))

    def lam(self, t):
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            return -0.5 * self.integral(t) - xp.log(self.sigma(t))

    def t_of_lam(self, lam):
        # rho = sigma/alpha solves sigma = 1 - alpha^2; both roots written as sums of positive terms
        rho = np.exp(-reals("lam", lam))
        root = rho + np.hypot(rho, 2)
        B = np.where(rho < 1, -np.log1p(-2 * np.minimum(rho, 1) / root), 2 * np.log(root / 2))
        return self.t_of_integral(B)


@dataclass(frozen=True)
class VPCosine(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), so alpha(1) is exactly 0: pure noise.

    Nichol and Dhariwal 2021, "Improved denoising diffusion probabilistic models", sec. 3.2, without
    the offset.
    """

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.sin((np.pi / 2) * (1 - t))  # exact 0 at t = 1, and no cancellation next to it

    def sigma(self, t):
        xp, t = namespace(t)
        return xp.sin((np.pi / 2) * t)

    def dalpha(self, t):
        return -(np.pi / 2) * self.sigma(t)

    def dsigma(self, t):
        return (np.pi / 2) * self.alpha(t)

    def t_of_lam(self, lam):
        lam = reals("lam", lam)
        return (2 / np.pi) * np.arctan2(np.exp(np.minimum(-lam, 0)), np.exp(np.minimum(lam, 0)))
