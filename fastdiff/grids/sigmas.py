"""Grids spaced in rho = sigma / alpha, the "sigmas" of Karras et al. and of k-diffusion.

Their points lie between ``sigma_max`` and ``sigma_min``; both are values of rho and default to
those of ``schedule.t_largest`` and ``schedule.t_smallest``. The end is treated by ``final``:

    "clean"  steps points, and one last jump to sigma = 0
    "min"    steps + 1 points, stopping at ``sigma_min``
"""

from dataclasses import dataclass, field

import numpy as np

from ..schedules.base import positive
from .base import Grid, append_clean, check_final
from .beta import beta_quantile


@dataclass(frozen=True)
class Sigmas(Grid):
    """Base class: ``spacing(high, low, u)`` maps u in [0, 1] to rho."""

    sigma_min: float | None = None
    sigma_max: float | None = None
    final: str = "clean"
    parity: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        check_final(self)
        for name in ("sigma_min", "sigma_max"):
            if getattr(self, name) is not None:
                positive(type(self).__name__, **{name: getattr(self, name)})

    def spacing(self, high, low, u):
        """rho at u in [0, 1], from ``high`` to ``low``."""
        raise NotImplementedError

    def times(self, schedule, steps):
        first, high = self._end(schedule, self.sigma_max, schedule.t_largest, "sigma_max")
        last, low = self._end(schedule, self.sigma_min, schedule.t_smallest, "sigma_min")
        if not low < high:
            raise ValueError(
                f"{type(self).__name__}: sigma_min must be < sigma_max = {high:g}, got {low:g}"
            )
        count = steps if self.final == "clean" else steps + 1
        rho = self.spacing(high, low, np.linspace(0, 1, count))
        if self.parity:
            rho = np.float32(rho).astype(np.float64)
        times = np.array(schedule.t_of_lam(-np.log(rho)))
        times[0] = first
        if count > 1:
            times[-1] = last  # both ends as asked for, without the rounding of there and back
        return append_clean(self, schedule, times) if self.final == "clean" else times

    def _end(self, schedule, sigma, t, name):
        if sigma is None:
            return t, float(np.exp(-schedule.lam(t)))
        low, high = (
            float(np.exp(-schedule.lam(end))) for end in (schedule.t_min, schedule.t_largest)
        )
        if schedule.alpha(schedule.t_max) == 0:
            high = np.inf
        if not low <= sigma <= high * (1 + 1e-12):
            raise ValueError(
                f"{type(self).__name__}: {name} must be in [{low:g}, {high:g}], "
                f"the sigma / alpha of {schedule!r}, got {sigma:g}"
            )
        return min(float(schedule.t_of_lam(-np.log(sigma))), schedule.t_max), float(sigma)


@dataclass(frozen=True)
class Karras(Sigmas):
    """rho^(1/7) uniform. Karras et al. 2022, eq. 5 (``rho`` is the exponent there, 7)."""

    rho: float = 7.0

    def __post_init__(self):
        super().__post_init__()
        positive("Karras", rho=self.rho)

    def spacing(self, high, low, u):
        top, bottom = high ** (1 / self.rho), low ** (1 / self.rho)
        return (top + u * (bottom - top)) ** self.rho


@dataclass(frozen=True)
class PolyExponential(Sigmas):
    """log(sigma / alpha) polynomial: k-diffusion's ``get_sigmas_polyexponential``.

    Attributes:
        rho: the power; 1 is ``Exponential``, larger puts more points at low noise.
    """

    rho: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        positive("PolyExponential", rho=self.rho)

    def spacing(self, high, low, u):
        return np.exp(np.log(low) + (1 - u) ** self.rho * (np.log(high) - np.log(low)))


@dataclass(frozen=True)
class Exponential(Sigmas):
    """log(sigma / alpha) uniform."""

    def spacing(self, high, low, u):
        return np.exp(np.log(high) + u * (np.log(low) - np.log(high)))


@dataclass(frozen=True)
class LogSNR(Exponential):
    """lam = log(alpha / sigma) uniform: ``Exponential`` under its name in DPM-Solver ("lu" in
    diffusers)."""


@dataclass(frozen=True)
class Beta(Sigmas):
    """rho at quantiles of Beta(alpha, beta) between the ends. Lee et al. 2024, "Beta sampling"."""

    alpha: float = 0.6
    beta: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        positive("Beta", alpha=self.alpha, beta=self.beta)

    def spacing(self, high, low, u):
        return low + (high - low) * beta_quantile(1 - u, self.alpha, self.beta)
