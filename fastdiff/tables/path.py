"""The noise levels a solver walks through, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf, log

import numpy as np

from ..schedules import Schedule


@dataclass(frozen=True)
class Point:
    """One noise level: x = alpha x0 + sigma eps, lam = log(alpha / sigma)."""

    t: float
    alpha: float
    sigma: float
    lam: float

    @property
    def rho(self) -> float:
        """sigma / alpha, the noise level of x / alpha (alpha > 0)."""
        return self.sigma / self.alpha

    @property
    def tau(self) -> float:
        """sigma / (alpha + sigma), the noise level of x / (alpha + sigma): that of a rectified
        flow, 1 in pure noise."""
        return self.sigma / (self.alpha + self.sigma)

    @property
    def tau_rest(self) -> float:
        """1 - tau, without the rounding of the difference."""
        return self.alpha / (self.alpha + self.sigma)

    def below(self, kappa: float) -> "Point":
        """The level with the same data and the fraction ``kappa`` > 0 of the noise."""
        return Point(self.t, self.alpha, kappa * self.sigma, self.lam - log(kappa))

    @property
    def is_clean(self) -> bool:
        """No noise: nothing left to solve."""
        return self.sigma == 0

    @property
    def is_pure_noise(self) -> bool:
        """No signal: lam = -inf, and every step away from here is infinitely long in lam."""
        return self.alpha == 0


def gap(t: Point, s: Point) -> float:
    """h = lam_s - lam_t > 0; inf from pure noise or to clean data."""
    return s.lam - t.lam


def decay(t: Point, s: Point) -> float:
    """E = e^{-h} as a product, exactly 0 where h is infinite."""
    return (t.alpha * s.sigma) / (s.alpha * t.sigma)


@dataclass(frozen=True)
class Path:
    """``points[0]`` is where the solver starts, ``points[-1]`` where it ends.

    The points get cleaner, or, if ``increasing``, noisier (inversion).
    """

    schedule: Schedule
    points: tuple[Point, ...]

    @classmethod
    def along(cls, schedule: Schedule, times: np.ndarray) -> "Path":
        """The points of the schedule at monotone ``times``."""
        return cls(schedule, points(schedule, times))

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.points) - 1

    def __getitem__(self, i: int | slice) -> Point | tuple[Point, ...]:
        return self.points[i]

    @property
    def increasing(self) -> bool:
        """Whether the path leads from data towards noise."""
        return self.points[-1].lam < self.points[0].lam

    def steps(self) -> Iterator[tuple[int, Point, Point]]:
        """``(i, t, s)`` for each step, from t to the next point s."""
        return ((i, self.points[i], self.points[i + 1]) for i in range(len(self)))

    def at(self, t: float) -> Point:
        """A point between those of the grid, by its time."""
        return points(self.schedule, [t])[0]

    def at_lam(self, lam: float) -> Point:
        """A point between those of the grid, by its log(alpha / sigma)."""
        return points(self.schedule, [self.schedule.t_of_lam(lam)])[0]

    def between(self, t: Point, s: Point, r: float) -> Point:
        """The point at the fraction r of the way from t to s in lam."""
        return self.at_lam(t.lam + r * gap(t, s))

    def known(self, i: int) -> int:
        """How many points with finite lam there are up to the start of step i."""
        return i + 1 - isinf(self.points[0].lam)

    def order(self, i: int, wanted: int, taper: bool = False, extra: int = 0) -> int:
        """The order a multistep formula can have on step i.

        One on the step to clean data or pure noise and until finite gaps of lam lie behind; with
        ``taper`` also decreasing to one at the end, where ``extra`` evaluations follow.
        """
        if isinf(self.points[i + 1].lam):
            return 1
        left = len(self) - i + extra if taper else wanted
        return max(1, min(wanted, self.known(i), left))


def points(schedule: Schedule, times) -> tuple[Point, ...]:
    """The points of the schedule at an array of times."""
    t = np.asarray(times, dtype=np.float64)
    alpha, sigma, lam = schedule.alpha(t), schedule.sigma(t), schedule.lam(t)
    bad = ~(
        np.isfinite(alpha) & np.isfinite(sigma) & (alpha >= 0) & (sigma >= 0) & (alpha + sigma > 0)
    )
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"grid: alpha and sigma of {schedule!r} must be finite and >= 0, "
            f"got alpha = {alpha[i]:g}, sigma = {sigma[i]:g} at t = {t[i]:g}; "
            "start the grid later or use another schedule"
        )
    return tuple(
        Point(*numbers)
        for numbers in zip(*(a.tolist() for a in (t, alpha, sigma, lam)), strict=True)
    )
