"""Discrete-time schedules: a table of betas, made continuous."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arguments import describe, number
from .base import Schedule, namespace, positive, reals, softplus


@dataclass(frozen=True, repr=False)
class DiscreteBetas(Schedule):
    """alpha_t^2 = prod_{i<=t} (1 - beta_i), sigma_t^2 = 1 - alpha_t^2. Ho et al. 2020 (DDPM), eq.
    4.

    t is continuous in [-1, T - 1]: integers are the model's timesteps, t = -1 is clean data (alpha
    = 1, sigma = 0), and log alpha is linear in between. Sums of log1p and expm1 in float64, because
    1 - cumprod loses four digits at t = 0.

    Args:
        betas: T numbers in (0, 1). The last may be 1: zero terminal signal-to-noise ratio.
    """

    betas: Sequence[float] | np.ndarray  # once it is made a tuple
    t_min = -1.0
    t_clean = -1.0

    def __post_init__(self):
        try:
            betas = reals("betas", self.betas)
        except TypeError:
            raise TypeError(
                f"DiscreteBetas: betas must be a sequence of numbers, got {self.betas!r}"
            ) from None
        if betas.ndim != 1 or betas.size == 0:
            raise ValueError(
                f"DiscreteBetas: betas must have one dimension and >= 1 entry, "
                f"got shape {betas.shape}"
            )
        bad = ~((betas > 0) & (betas < 1))
        bad[-1] &= betas[-1] != 1
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(
                f"DiscreteBetas: betas must be in (0, 1), the last one in (0, 1], "
                f"got betas[{i}] = {betas[i]}"
            )
        object.__setattr__(self, "betas", tuple(betas.tolist()))
        object.__setattr__(self, "t_max", float(betas.size - 1))

    @classmethod
    def linear(cls, T=1000, beta_start=1e-4, beta_end=0.02):
        """beta linear in t: DDPM."""
        low, high = _ends(T, beta_start, beta_end)
        return cls(np.linspace(low, high, T))

    @classmethod
    def scaled_linear(cls, T=1000, beta_start=0.00085, beta_end=0.012):
        """sqrt(beta) linear in t: latent diffusion."""
        low, high = np.sqrt(_ends(T, beta_start, beta_end))
        return cls(np.linspace(low, high, T) ** 2)

    @classmethod
    def cosine(cls, T=1000, offset=0.008, max_beta=0.999):
        """alpha^2 = cos^2((t/T + offset) / (1 + offset) pi/2), betas capped.

        Nichol and Dhariwal 2021, eq. 17.
        """
        positive("DiscreteBetas.cosine", max_beta=max_beta)
        offset = number("offset", offset, least=0, most=100)
        _ends(T, 0.1, 0.1)
        alpha2 = np.cos((np.arange(T + 1) / T + offset) / (1 + offset) * (np.pi / 2)) ** 2
        return cls(np.minimum(1 - alpha2[1:] / alpha2[:-1], max_beta))

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod):
        """The table with given alpha_t^2, T decreasing numbers in [0, 1); only the last may be 0.

        Of the float32 numbers of another library it makes the float64 table with exactly those.
        """
        given = reals("alphas_cumprod", alphas_cumprod)
        values = np.append(1.0, given)
        if not (np.diff(values) < 0).all() or values[-1] < 0 or given.ndim != 1 or not given.size:
            raise ValueError(
                "DiscreteBetas.from_alphas_cumprod: alphas_cumprod must decrease, within [0, 1), "
                f"got {alphas_cumprod!r}"
            )
        return cls(1 - values[1:] / values[:-1])

    def zero_terminal(self):
        """alpha shifted and scaled so that alpha(T - 1) = 0. Lin et al. 2024, algorithm 1."""
        alpha = np.exp(self._log_alpha[1:])
        alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
        ratio = np.append(alpha[0], alpha[1:] / alpha[:-1])
        return DiscreteBetas(1 - ratio**2)

    @property
    def T(self):  # type: ignore[override]  # of other schedules a constant
        """The number of timesteps."""
        return len(self.betas)

    @cached_property
    def _log_alpha(self):
        """log alpha at t = -1, 0, ..., T - 1."""
        with np.errstate(divide="ignore"):
            return np.concatenate([[0.0], 0.5 * np.cumsum(np.log1p(-np.asarray(self.betas)))])

    @cached_property
    def _slope(self):
        """d log alpha / dt to the right of each entry; the last has one on its left only."""
        slope = np.diff(self._log_alpha)
        return np.append(slope, slope[-1])

    @cached_property
    def _rate(self):
        """d log alpha / dt at each entry: to its right, or its left where alpha jumps to 0."""
        slope = self._slope
        jumps = np.isneginf(slope) & np.isfinite(self._log_alpha)
        return np.where(jumps, np.append(slope[:1], slope[:-1]), slope)

    def _locate(self, t):
        """log alpha at t, the entry on its left and how far behind that it is. In float64: a
        float32 table would cost the clean end."""
        xp, t = namespace(t)
        table, slope = self._on(xp, t, self._log_alpha, self._slope)
        left = xp.nan_to_num(xp.clip(xp.floor(t), -1, self.T - 1), nan=-1.0)
        index = left.astype(np.int64) + 1 if xp is np else left.long() + 1
        part = (t - left) if xp is np else (t - left).double()
        with np.errstate(invalid="ignore"):
            log_alpha = table[index] + xp.where(part > 0, part * slope[index], 0.0)
        return xp, t, log_alpha, index, part

    def _rate_at(self, xp, t, index, part):
        slope, rate = self._on(xp, t, self._slope, self._rate)
        return xp.where(part > 0, slope[index], rate[index])

    @staticmethod
    def _on(xp, t, *arrays):
        return arrays if xp is np else [xp.as_tensor(a, device=t.device) for a in arrays]

    def alpha(self, t):
        xp, t, log_alpha, *_ = self._locate(t)
        return _like(xp, xp.exp(log_alpha), t)

    def sigma(self, t):
        xp, t, log_alpha, *_ = self._locate(t)
        return _like(xp, xp.sqrt(0.0 - xp.expm1(2 * log_alpha)), t)

    def dalpha(self, t):
        xp, t, log_alpha, *place = self._locate(t)
        with np.errstate(invalid="ignore"):  # NaN on the jump to alpha = 0 of a zero-terminal table
            return _like(xp, xp.exp(log_alpha) * self._rate_at(xp, t, *place), t)

    def dsigma(self, t):
        xp, t, log_alpha, *place = self._locate(t)
        rate, alpha2 = self._rate_at(xp, t, *place), xp.exp(2 * log_alpha)
        with np.errstate(divide="ignore", invalid="ignore"):
            return _like(xp, -rate * alpha2 / xp.sqrt(0.0 - xp.expm1(2 * log_alpha)), t)

    def lam(self, t):
        xp, t, log_alpha, *_ = self._locate(t)
        with np.errstate(divide="ignore"):
            return _like(xp, log_alpha - 0.5 * xp.log(0.0 - xp.expm1(2 * log_alpha)), t)

    def t_of_lam(self, lam):
        """The inverse of ``lam``; stays at the last timestep with alpha > 0 until lam = -inf."""
        log_alpha = -0.5 * softplus(np, -2 * reals("lam", lam))
        finite = np.isfinite(self._log_alpha)
        times = np.arange(-1.0, self.T)
        t = np.interp(-log_alpha, -self._log_alpha[finite], times[finite])
        return np.where(log_alpha == -np.inf, self.t_max, t)[()]

    @property
    def t_smallest(self):
        return 0.0

    @property
    def t_largest(self):
        return self.t_max if np.isfinite(self._log_alpha[-1]) else self.t_max - 1

    def __repr__(self):
        return f"DiscreteBetas(T={self.T}, betas={self.betas[0]:.6g}..{self.betas[-1]:.6g})"


def _ends(T, beta_start, beta_end):
    if isinstance(T, bool) or not isinstance(T, (int, np.integer)) or not 1 <= T <= 10**7:
        raise ValueError(f"DiscreteBetas: T must be a positive integer, got {describe(T)}")
    positive("DiscreteBetas", beta_start=beta_start, beta_end=beta_end)
    return float(beta_start), float(beta_end)


def _like(xp, value, t):
    return value if xp is np else value.to(t.dtype)
