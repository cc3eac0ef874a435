"""Where to put the steps: a grid maps (schedule, steps) to steps + 1 decreasing times, noisy first.

The last time is normally the clean end of the schedule, at which no model is evaluated. The
families that are spaced in rho = sigma / alpha place their points between ``sigma_max`` and
``sigma_min`` (both are values of rho; defaults: ``schedule.t_largest`` and ``schedule.t_smallest``)
and treat the end by ``final``:

    "clean"  steps points, and one last jump to sigma = 0
    "min"    steps + 1 points, stopping at ``sigma_min``
"""

from dataclasses import dataclass
from math import lgamma

import numpy as np

from .schedules import EDM, VE, DiscreteBetas, Schedule, VarianceExploding
from .schedules.base import number, positive


class Grid:
    """Base class: subclasses return the points, this checks them."""

    def __call__(self, schedule: Schedule, steps: int) -> np.ndarray:
        """Float64 array of ``steps + 1`` strictly decreasing times in the schedule's own time."""
        name = type(self).__name__
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{name}: schedule must be a fastdiff schedule, got {schedule!r}")
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ValueError(f"{name}: steps must be a positive integer, got {steps!r}")
        return check_times(name, schedule, self.times(schedule, int(steps)))

    def times(self, schedule, steps):
        raise NotImplementedError


def check_times(name, schedule, times):
    """``times`` as a float64 array, if they decrease and stay in the range of the schedule."""
    times = np.array(times, dtype=np.float64)
    if times.ndim != 1 or times.size < 2:
        raise ValueError(
            f"{name}: times must be a 1-D array of at least 2 times, got shape {times.shape}"
        )
    low, high = schedule.t_min, schedule.t_max
    outside = ~((times >= low) & (times <= high))
    outside[-1] &= times[-1] != schedule.t_clean  # a clean end outside the range (VE: -inf)
    if outside.any():
        i = int(np.argmax(outside))
        raise ValueError(
            f"{name}: times must lie in [{low:g}, {high:g}] of {schedule!r}, "
            f"got times[{i}] = {times[i]:g}"
        )
    if not (times[1:] < times[:-1]).all():
        i = int(np.argmin(times[1:] < times[:-1]))
        raise ValueError(
            f"{name}: times must decrease, "
            f"got times[{i}] = {times[i]:g}, times[{i + 1}] = {times[i + 1]:g}"
        )
    return times


@dataclass(frozen=True)
class Uniform(Grid):
    """Uniform in t, from ``start`` (default t_max) to ``end`` (default t_min)."""

    start: float | None = None
    end: float | None = None

    def times(self, schedule, steps):
        start = schedule.t_max if self.start is None else self.start
        end = schedule.t_min if self.end is None else self.end
        number("Uniform", start=start, end=end)
        return np.linspace(start, end, steps + 1)


@dataclass(frozen=True)
class Explicit(Grid):
    """The given times; ``steps`` must be one less than their number."""

    points: tuple

    def __post_init__(self):
        object.__setattr__(
            self, "points", tuple(np.asarray(self.points, np.float64).ravel().tolist())
        )

    def times(self, schedule, steps):
        if steps != len(self.points) - 1:
            raise ValueError(
                f"Explicit: steps must be {len(self.points) - 1} for {len(self.points)} times, "
                f"got {steps}"
            )
        return self.points


@dataclass(frozen=True)
class _Timesteps(Grid):
    """Integer timesteps, then ``final``: t = -1 for "clean", t = 0 for "min"."""

    final: str = "clean"

    def __post_init__(self):
        _check_final(self)

    def times(self, schedule, steps):
        name, table = type(self).__name__, schedule
        while isinstance(table, VarianceExploding):
            table = table.base
        if not isinstance(table, DiscreteBetas):
            raise ValueError(
                f"{name}: schedule must have discrete timesteps (DiscreteBetas), got {schedule!r}"
            )
        if steps > table.T:
            raise ValueError(
                f"{name}: steps must be <= {table.T}, the number of timesteps of the schedule, "
                f"got {steps}"
            )
        return np.append(self.timesteps(table.T, steps), -1.0 if self.final == "clean" else 0.0)


@dataclass(frozen=True)
class Leading(_Timesteps):
    """Multiples of T // steps plus ``steps_offset`` (Stable Diffusion: 1). Never reaches T - 1."""

    steps_offset: int = 0

    def timesteps(self, T, steps):
        return np.arange(steps)[::-1] * (T // steps) + self.steps_offset


@dataclass(frozen=True)
class Trailing(_Timesteps):
    """T - 1, and down by T / steps, rounded: starts from pure noise. Lin et al. 2024, table 2."""

    def timesteps(self, T, steps):
        return np.round(T - np.arange(steps) * (T / steps)) - 1


@dataclass(frozen=True)
class Linspace(_Timesteps):
    """From T - 1 to 0 evenly, rounded."""

    def timesteps(self, T, steps):
        return np.round(np.linspace(0, T - 1, steps))[::-1] if steps > 1 else np.array([T - 1.0])


@dataclass(frozen=True)
class _Sigmas(Grid):
    """Points in rho = sigma / alpha; ``spacing(high, low, u)`` maps u in [0, 1] to rho."""

    sigma_min: float | None = None
    sigma_max: float | None = None
    final: str = "clean"

    def __post_init__(self):
        _check_final(self)
        for name in ("sigma_min", "sigma_max"):
            if getattr(self, name) is not None:
                positive(type(self).__name__, **{name: getattr(self, name)})

    def times(self, schedule, steps):
        first, high = self._end(schedule, self.sigma_max, schedule.t_largest, "sigma_max")
        last, low = self._end(schedule, self.sigma_min, schedule.t_smallest, "sigma_min")
        if not low < high:
            raise ValueError(
                f"{type(self).__name__}: sigma_min must be < sigma_max = {high:g}, got {low:g}"
            )
        if self.final == "clean" and schedule.t_clean is None:
            raise ValueError(
                f'{type(self).__name__}: final must be "min", {schedule!r} has no clean end, '
                f'got "clean"'
            )
        count = steps if self.final == "clean" else steps + 1
        rho = self.spacing(high, low, np.linspace(0, 1, count))
        times = np.array(schedule.t_of_lam(-np.log(rho)))
        times[0] = first
        if count > 1:
            times[-1] = last  # both ends as asked for, without the rounding of there and back
        return np.append(times, schedule.t_clean) if self.final == "clean" else times

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
class Karras(_Sigmas):
    """rho^(1/7) uniform. Karras et al. 2022, eq. 5 (``rho`` is the exponent there, 7)."""

    rho: float = 7.0

    def __post_init__(self):
        super().__post_init__()
        positive("Karras", rho=self.rho)

    def spacing(self, high, low, u):
        top, bottom = high ** (1 / self.rho), low ** (1 / self.rho)
        return (top + u * (bottom - top)) ** self.rho


@dataclass(frozen=True)
class Exponential(_Sigmas):
    """log(sigma / alpha) uniform."""

    def spacing(self, high, low, u):
        return np.exp(np.log(high) + u * (np.log(low) - np.log(high)))


@dataclass(frozen=True)
class LogSNR(Exponential):
    """lam = log(alpha / sigma) uniform: ``Exponential`` under its name in DPM-Solver."""


@dataclass(frozen=True)
class Beta(_Sigmas):
    """rho at quantiles of Beta(alpha, beta) between the ends. Lee et al. 2024, "Beta sampling"."""

    alpha: float = 0.6
    beta: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        positive("Beta", alpha=self.alpha, beta=self.beta)

    def spacing(self, high, low, u):
        return low + (high - low) * beta_quantile(1 - u, self.alpha, self.beta)


def beta_quantile(p, a, b):
    """Quantile function of the Beta(a, b) distribution, by bisection on the series of its CDF."""
    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = _beta_cdf(middle, a, b) > p
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(p <= 0, 0.0, np.where(p >= 1, 1.0, 0.5 * (low + high)))


def _beta_cdf(x, a, b):
    """Power series of the incomplete beta function, on the side where it converges like 2^-k."""
    mirrored = x > 0.5
    left = _beta_series(np.where(mirrored, 0.0, x), a, b)
    return np.where(mirrored, 1 - _beta_series(np.where(mirrored, 1 - x, 0.0), b, a), left)


def _beta_series(y, a, b):
    k = np.arange(56)
    terms = np.cumprod(np.append(1.0, (k[1:] - b) / k[1:])) / (a + k)
    scale = np.exp(lgamma(a + b) - lgamma(a) - lgamma(b))
    return scale * y**a * (y[..., None] ** k @ terms)


def _check_final(grid):
    if grid.final not in ("clean", "min"):
        raise ValueError(
            f'{type(grid).__name__}: final must be "clean" or "min", got {grid.final!r}'
        )


def default(schedule: Schedule) -> Grid:
    """The customary grid: Trailing for discrete timesteps, Karras for VE and EDM, else Uniform."""
    if isinstance(schedule, VarianceExploding):
        return default(schedule.base)
    if isinstance(schedule, DiscreteBetas):
        return Trailing()
    return Karras() if isinstance(schedule, (VE, EDM)) else Uniform()
