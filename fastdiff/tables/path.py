"""The noise levels a solver walks through, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, hypot, isinf, log
from typing import overload

import numpy as np

from ..schedules import Schedule
from ..schedules.base import check_schedule, reals


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


#: What levels of one kind keep: a norm of (alpha, sigma) that is 1 on all of them.
NORMS = {
    "variance exploding": lambda alpha, sigma: alpha,
    "flow": lambda alpha, sigma: alpha + sigma,
    "variance preserving": hypot,
}
OFF = 1e-6  # by which such a norm may differ from 1: levels may have been float32 numbers


@dataclass(frozen=True)
class Path:
    """``points[0]`` is where the solver starts, ``points[-1]`` where it ends.

    The points get cleaner, or, if ``increasing``, noisier (inversion).

    Attributes:
        schedule: gives the points between these; None for levels that are known as numbers alone,
            between which the points keep the norm of ``NORMS`` that the levels have.
    """

    schedule: Schedule | None
    points: tuple[Point, ...]

    @classmethod
    def along(cls, schedule: Schedule, times: np.ndarray) -> "Path":
        """The points of the schedule at monotone ``times``."""
        return cls(schedule, points(schedule, times))

    @classmethod
    def of(cls, alpha, sigma, times=None, schedule: Schedule | None = None) -> "Path":
        """The points with these levels: x = alpha x0 + sigma eps.

        Args:
            alpha, sigma: [N + 1] real numbers, N >= 1, with sigma / alpha falling, or rising
                (inversion). A level may be there twice, where the solver can compute with it: no
                noise goes on the step between.
            times: [N + 1] real numbers, the times of the levels; None: sigma / (alpha + sigma), the
                time of a rectified flow.
            schedule: of ``times``, for solvers that need more of it than its levels.

        Raises:
            TypeError, ValueError: an argument is not as described.
        """
        alpha, sigma = reals("alpha", alpha), reals("sigma", sigma)
        _check_levels(alpha, sigma)
        if schedule is not None:
            check_schedule(schedule)
            if times is None:
                raise ValueError("times: expected those of the levels on the schedule, got None")
        t = sigma / (alpha + sigma) if times is None else reals("times", times)
        if t.shape != alpha.shape:
            raise ValueError(f"times: expected shape {alpha.shape}, got {t.shape}")
        if not np.isfinite(t[:-1]).all() or np.isnan(t[-1]):
            raise ValueError(f"times: expected finite numbers, got {t.tolist()}")
        with np.errstate(divide="ignore"):
            lam = np.log(alpha) - np.log(sigma)
        numbers = t.tolist(), alpha.tolist(), sigma.tolist(), lam.tolist()
        return cls(schedule, tuple(map(Point, *numbers)))

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.points) - 1

    @overload
    def __getitem__(self, i: int) -> Point: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Point, ...]: ...
    def __getitem__(self, i):
        return self.points[i]

    @property
    def increasing(self) -> bool:
        """Whether the path leads from data towards noise."""
        return self.points[-1].lam < self.points[0].lam

    def steps(self) -> Iterator[tuple[int, Point, Point]]:
        """``(i, t, s)`` for each step, from t to the next point s."""
        return zip(range(len(self)), self.points, self.points[1:], strict=False)

    def on_schedule(self, needed_by) -> Schedule:
        """The schedule.

        Raises:
            ValueError: there is none; the message says what needs it.
        """
        if self.schedule is None:
            raise ValueError(
                f"path: expected one with a schedule, which {needed_by} needs, got levels alone"
            )
        return self.schedule

    def at(self, t: float) -> Point:
        """A point between those of the grid, by its time."""
        return points(self.on_schedule("a point by its time"), [t])[0]

    def at_lam(self, lam: float) -> Point:
        """A point between those of the grid, by its log(alpha / sigma).

        Without a schedule its time is interpolated in lam.
        """
        if self.schedule is not None:
            return points(self.schedule, [self.schedule.t_of_lam(lam)])[0]
        rho = exp(-lam)
        alpha = 1 / NORMS[self.norm](1.0, rho)
        nodes = sorted((p.lam, p.t) for p in self.points if not isinf(p.lam))
        lams, times = zip(*nodes, strict=True)
        return Point(float(np.interp(lam, lams, times)), alpha, rho * alpha, lam)

    def noisier(self, lam: float) -> Point:
        """``at_lam``, but no noisier than a model of the schedule knows (``Schedule.t_limit``)."""
        if self.schedule is None:
            return self.at_lam(lam)
        return self.at(min(self.schedule.t_of_lam(lam), self.schedule.t_limit))

    @property
    def norm(self) -> str:
        """The norm that all levels keep, a key of ``NORMS``.

        Raises:
            ValueError: there is no such norm.
        """
        for name, norm in NORMS.items():
            if all(abs(norm(p.alpha, p.sigma) - 1) <= OFF for p in self.points):
                return name
        raise ValueError(
            "path: expected levels that are variance preserving, variance exploding or those of a "
            "flow, or a schedule, for the points between them, got other ones"
        )

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
        known = self.known(i)
        return max(1, min(wanted, known, len(self) - i + extra) if taper else min(wanted, known))

    def ages(self, i: int, order: int) -> list[int]:
        """How many steps back the other outputs are of which a formula of this order is made that
        starts with the one at point i. An output at a level that is there again later is left out:
        two at the same level say nothing of a slope."""
        lam, ages = {self.points[i].lam}, []
        for k in range(1, order):
            point = self.points[i - k]
            if point.lam not in lam:
                lam.add(point.lam)
                ages.append(k)
        return ages


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
    return tuple(map(Point, t.tolist(), alpha.tolist(), sigma.tolist(), lam.tolist()))


def _check_levels(alpha, sigma):
    """Raise unless these are levels of a path."""
    for name, values in (("alpha", alpha), ("sigma", sigma)):
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"{name}: expected shape [N + 1] with N >= 1, got {values.shape}")
        if values.shape != alpha.shape:
            raise ValueError(f"{name}: expected shape {alpha.shape}, got {values.shape}")
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            got = values[bad][0]
            raise ValueError(f"{name}: expected finite numbers >= 0, got {got:g}")
    if (alpha + sigma == 0).any():
        raise ValueError("alpha: expected numbers > 0 where sigma is 0, got 0")
    change = sigma[1:] * alpha[:-1] - sigma[:-1] * alpha[1:]
    if (change > 0).any() and (change < 0).any():
        raise ValueError(
            "sigma: expected levels whose sigma / alpha only falls or only rises, "
            f"got alpha = {alpha.tolist()}, sigma = {sigma.tolist()}"
        )
