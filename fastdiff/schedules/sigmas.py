"""A table of noise levels, one to a timestep: how k-diffusion sees a discrete model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arguments import flag, instance
from .base import Schedule, level, namespace, reals
from .discrete import DiscreteBetas


@dataclass(frozen=True, repr=False)
class DiscreteSigmas(Schedule):
    """alpha = 1, sigma = sigmas[t] at t = 0, ..., T - 1, for a model of a variance-preserving kind.

    The state is y = x / alpha; the model is fed y / sqrt(sigma^2 + 1) and t. At timesteps this is
    ``VarianceExploding(DiscreteBetas(...))``; it differs in what lies between them. t = -1 is
    clean data, and sigma is linear from there to t = 0.

    Args:
        sigmas: T increasing positive numbers, sigma / alpha of the timesteps.
        log: between timesteps log sigma is linear in t (k-diffusion; diffusers, where it looks up
            the timestep of a sigma), or, False, sigma itself (diffusers, where it looks up the
            sigma of a timestep).
    """

    sigmas: tuple
    log: bool = True
    t_min = -1.0
    t_clean = -1.0

    def __post_init__(self):
        try:
            sigmas = reals("sigmas", self.sigmas)
        except TypeError:
            raise TypeError(
                f"DiscreteSigmas: sigmas must be a sequence of numbers, got {self.sigmas!r}"
            ) from None
        if sigmas.ndim != 1 or sigmas.size == 0:
            raise ValueError(
                f"DiscreteSigmas: sigmas must have one dimension and >= 1 entry, "
                f"got shape {sigmas.shape}"
            )
        if not (np.isfinite(sigmas).all() and sigmas[0] > 0 and (np.diff(sigmas) > 0).all()):
            raise ValueError("DiscreteSigmas: sigmas must be finite, positive and increase")
        level("DiscreteSigmas", **{"sigmas[0]": float(sigmas[0]), "sigmas[-1]": float(sigmas[-1])})
        object.__setattr__(self, "log", flag("log", self.log))
        object.__setattr__(self, "sigmas", tuple(sigmas.tolist()))
        object.__setattr__(self, "t_max", float(sigmas.size - 1))

    @classmethod
    def of(cls, table: DiscreteBetas, log: bool = True) -> "DiscreteSigmas":
        """The noise levels of a table of betas (whose alpha must not reach 0)."""
        instance("table", table, DiscreteBetas, "a DiscreteBetas")
        t = np.arange(table.T)
        if table.alpha(t[-1]) == 0:
            raise ValueError(f"DiscreteSigmas.of: table must have alpha > 0, got {table!r}")
        return cls(table.sigma(t) / table.alpha(t), log)

    @property
    def T(self):  # type: ignore[override]  # of other schedules a constant
        return len(self.sigmas)

    @cached_property
    def _table(self):
        return np.append(0.0, self.sigmas)  # at t = -1, 0, ..., T - 1

    def _locate(self, t):
        """(xp, sigma on the left, log of the ratio to the right one, fraction of the way)."""
        xp, t = namespace(t)
        last = self.T - 2 if self.T > 1 else -1
        left = xp.nan_to_num(xp.clip(xp.floor(t), -1, last), nan=-1.0)
        index = left.astype(np.int64) + 1 if xp is np else left.long() + 1
        table = self._table if xp is np else xp.as_tensor(self._table, device=t.device)
        part = t - left if xp is np else (t - left).double()
        return xp, t, table[index], table[index + 1], part

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.ones_like(t)[()]

    def sigma(self, t):
        xp, t, low, high, part = self._locate(t)
        sigma = low + part * (high - low)
        if self.log:
            curved = low > 0
            base = xp.where(curved, low, 1.0)
            sigma = xp.where(curved, base * (high / base) ** part, sigma)
        return (sigma if xp is np else sigma.to(t.dtype))[()]

    def dalpha(self, t):
        return 0 * self.alpha(t)

    def dsigma(self, t):
        xp, t, low, high, part = self._locate(t)
        slope = high - low
        if self.log:
            curved = low > 0
            base = xp.where(curved, low, 1.0)
            rate = xp.log(high / base)
            slope = xp.where(curved, base * xp.exp(rate * part) * rate, slope)
        return (slope if xp is np else slope.to(t.dtype))[()]

    def t_of_lam(self, lam):
        """The inverse of ``lam``; stays at the last timestep beyond its noise."""
        lam, times = reals("lam", lam), np.arange(-1.0, self.T)
        sigma = np.exp(-np.maximum(lam, -np.log(self.sigmas[-1])))
        t = np.interp(sigma, self._table, times)
        if self.log:
            curved = np.interp(-lam, np.log(self.sigmas), times[1:])
            t = np.where(sigma > self.sigmas[0], curved, t)
        return t[()]

    def input_scale(self, t):
        xp, _ = namespace(t)
        return 1 / xp.sqrt(self.sigma(t) ** 2 + 1)

    @property
    def t_smallest(self):
        return 0.0

    def __repr__(self):
        ends = f"{self.sigmas[0]:.6g}..{self.sigmas[-1]:.6g}"
        return f"DiscreteSigmas(T={self.T}, sigmas={ends}, log={self.log})"
