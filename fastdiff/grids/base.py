"""What a grid is, and the grids that need nothing but time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..arguments import close, describe, did_you_mean, flag, whole
from ..schedules import Schedule
from ..schedules.base import check_schedule, number, reals

MOST_STEPS = 10**7  # of a table that fits into memory


class Grid:
    """Base class: subclasses return the points, this checks them."""

    #: The times grow, from clean to noisy (``Reversed``).
    increasing = False

    def __call__(self, schedule: Schedule, steps: int) -> np.ndarray:
        """Float64 array of ``steps + 1`` strictly decreasing times in the schedule's own time."""
        name = type(self).__name__
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{name}: schedule must be a fastdiff schedule, got {schedule!r}")
        right = isinstance(steps, (int, np.integer)) and not isinstance(steps, bool)
        if not right or steps < 1:
            raise ValueError(f"{name}: steps must be a positive integer, got {describe(steps)}")
        if steps > MOST_STEPS:
            raise ValueError(f"{name}: steps must be <= {MOST_STEPS:,}, got {describe(steps)}")
        return check_times(name, schedule, self.times(schedule, int(steps)), self.increasing)

    def times(self, schedule, steps):
        raise NotImplementedError


#: A grid, a function of (schedule, steps), or the times themselves.
GridLike: TypeAlias = Grid | Callable[[Schedule, int], Any] | Sequence[float] | np.ndarray


def check_times(name, schedule, times, increasing=False):
    """``times`` as a float64 array, if they decrease and stay in the range of the schedule.

    With ``increasing`` they must grow instead.
    """
    check_schedule(schedule)
    times = np.array(reals("times", times))
    if times.ndim != 1 or times.size < 2:
        raise ValueError(
            f"{name}: times must be a 1-D array of at least 2 times, got shape {times.shape}"
        )
    low, high = schedule.t_min, schedule.t_max
    clean = 0 if flag("increasing", increasing) else -1
    outside = ~((times >= low) & (times <= high))
    outside[clean] &= times[clean] != schedule.t_clean  # which may lie outside (VE: -inf)
    if outside.any():
        i = int(np.argmax(outside))
        raise ValueError(
            f"{name}: times must lie in [{low:g}, {high:g}] of {schedule!r}, "
            f"got times[{i}] = {times[i]:g}"
        )
    ordered = times[1:] > times[:-1] if increasing else times[1:] < times[:-1]
    if not ordered.all():
        i = int(np.argmin(ordered))
        raise ValueError(
            f"{name}: times must {'increase' if increasing else 'decrease'}, "
            f"got times[{i}] = {times[i]:g}, times[{i + 1}] = {times[i + 1]:g}"
        )
    return times


def check_final(grid):
    """Raise unless ``grid.final`` is one of the two ends there are."""
    if not isinstance(grid.final, str) or grid.final not in ("clean", "min"):
        raise ValueError(
            f'{type(grid).__name__}: final must be "clean" or "min", got {grid.final!r}'
        )


def append_clean(grid, schedule, times):
    """``times`` and the schedule's clean end."""
    if schedule.t_clean is None:
        raise ValueError(
            f'{type(grid).__name__}: final must be "min", {schedule!r} has no clean end, '
            f'got "clean"'
        )
    return np.append(times, schedule.t_clean)


def as_grid(name, grid) -> Grid:
    """``grid``, or the grid of an array of times."""
    if isinstance(grid, Grid):
        return grid
    refuse_grid(f"{name}: grid", grid)
    return Explicit(grid)


def refuse_grid(name, grid) -> None:
    """Raise TypeError, with a hint, for what is neither a grid nor an array of times."""
    expected = f"{name} must be a fastdiff grid or an array of times"
    if isinstance(grid, type) and issubclass(grid, Grid):
        raise TypeError(f"{expected}, got the class {grid.__name__}; write {grid.__name__}()")
    if isinstance(grid, str):
        meant = close(grid, [kind.__name__ for kind in _below(Grid)])
        hint = did_you_mean(meant and f"fastdiff.grids.{meant}()").replace("'", "")
        raise TypeError(f"{expected}, got {grid!r}{hint}")
    if callable(grid) or grid is None:
        raise TypeError(f"{expected}, got {describe(grid)}")


def _below(kind):
    return [sub for child in kind.__subclasses__() for sub in (child, *_below(child))]


@dataclass(frozen=True)
class Uniform(Grid):
    """Uniform in t, from ``start`` (default t_max) to ``end`` (default t_min)."""

    start: float | None = None
    end: float | None = None
    power = 1

    def times(self, schedule, steps):
        start = schedule.t_max if self.start is None else self.start
        end = schedule.t_min if self.end is None else self.end
        number(type(self).__name__, start=start, end=end)
        if self.power == 1:
            return np.linspace(start, end, steps + 1)
        low = schedule.t_min
        if end < low or start < end:
            raise ValueError(
                f"{type(self).__name__}: start and end must satisfy start > end >= {low:g}, "
                f"got {start:g} and {end:g}"
            )
        roots = [(point - low) ** (1 / self.power) for point in (start, end)]
        times = low + np.linspace(roots[0], roots[1], steps + 1) ** self.power
        times[0], times[-1] = start, end  # without the rounding of there and back
        return times


@dataclass(frozen=True)
class Quadratic(Uniform):
    """Uniform in the root of t - t_min: finer towards the data, by squares.

    Song, Meng and Ermon 2021 (DDIM), appendix D.2; "time_quadratic" of DPM-Solver.
    """

    power = 2


@dataclass(frozen=True)
class Explicit(Grid):
    """The given times; ``steps`` must be one less than their number."""

    points: Sequence[float] | np.ndarray  # once it is made a tuple

    def __post_init__(self):
        object.__setattr__(self, "points", tuple(reals("points", self.points).ravel().tolist()))

    def times(self, schedule, steps):
        if steps != len(self.points) - 1:
            raise ValueError(
                f"Explicit: steps must be {len(self.points) - 1} for {len(self.points)} times, "
                f"got {steps}"
            )
        return self.points


@dataclass(frozen=True)
class Reversed(Grid):
    """The times of another grid (or of an array) the other way round, from clean to noisy.

    With it a deterministic solver walks its equation backwards, as in the inversion of a sample to
    the noise that leads to it. At clean data itself the model is asked for eps, so an "x0" model
    cannot start there, nor can solvers that divide by sigma: give those a grid with final="min".
    """

    grid: Any  # once it is made a Grid
    increasing = True

    def __post_init__(self):
        object.__setattr__(self, "grid", as_grid("Reversed", self.grid))

    def times(self, schedule, steps):
        return self.grid(schedule, steps)[::-1]


@dataclass(frozen=True)
class Thinned(Grid):
    """Some of the times of a finer grid of ``of`` steps: those a few-step model was distilled on.

    The first time is kept, every (of / steps)-th after it, rounded down, and the end. With
    ``whole`` the stride is the whole number floor((of + 1) / steps) instead.

    Thinned(Trailing(), 50) is the grid of latent consistency models (Luo et al. 2023),
    Thinned(Karras(final="min"), 39, whole=True) that of consistency models (Song et al. 2023).
    """

    grid: Any  # once it is made a Grid
    of: int
    whole: bool = False

    def __post_init__(self):
        object.__setattr__(self, "grid", as_grid("Thinned", self.grid))
        object.__setattr__(self, "of", whole("of", self.of, least=1, most=MOST_STEPS))
        object.__setattr__(self, "whole", flag("whole", self.whole))

    def times(self, schedule, steps):
        if steps > self.of:
            raise ValueError(f"Thinned: steps must be <= {self.of}, got {steps}")
        fine, i = self.grid(schedule, self.of), np.arange(steps)
        kept = i * ((self.of + 1) // steps) if self.whole else i * self.of // steps
        return np.append(fine[kept], fine[-1])
