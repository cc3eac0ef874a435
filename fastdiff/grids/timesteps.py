"""Grids on the integer timesteps of a discrete schedule."""

from dataclasses import dataclass

import numpy as np

from ..arguments import flag, whole
from .base import Grid, check_final


@dataclass(frozen=True)
class _Timesteps(Grid):
    """Timesteps, then ``final``: t = -1 for "clean", t = 0 for "min"."""

    final: str = "clean"

    def __post_init__(self):
        check_final(self)

    def timesteps(self, T: int, steps: int) -> np.ndarray:
        """[steps] decreasing timesteps from 0 to T - 1."""
        raise NotImplementedError

    def times(self, schedule, steps):
        name = type(self).__name__
        if schedule.T is None:
            raise ValueError(
                f"{name}: schedule must have discrete timesteps (DiscreteBetas), got {schedule!r}"
            )
        if steps > schedule.T:
            raise ValueError(
                f"{name}: steps must be <= {schedule.T}, the number of timesteps of the schedule, "
                f"got {steps}"
            )
        return np.append(self.timesteps(schedule.T, steps), -1.0 if self.final == "clean" else 0.0)


@dataclass(frozen=True)
class Leading(_Timesteps):
    """Multiples of T // steps plus ``steps_offset`` (Stable Diffusion: 1). Never reaches T - 1."""

    steps_offset: int = 0

    def __post_init__(self):
        super().__post_init__()
        whole("steps_offset", self.steps_offset)

    def timesteps(self, T, steps):
        return np.arange(steps)[::-1] * (T // steps) + self.steps_offset


@dataclass(frozen=True)
class Trailing(_Timesteps):
    """T - 1, and down by T / steps, rounded: starts from pure noise. Lin et al. 2024, table 2."""

    def timesteps(self, T, steps):
        return np.round(T - np.arange(steps) * (T / steps)) - 1


@dataclass(frozen=True)
class Linspace(_Timesteps):
    """From T - 1 to 0 evenly; ``rounded`` to timesteps, or not (ComfyUI's "normal")."""

    rounded: bool = True

    def __post_init__(self):
        super().__post_init__()
        flag("rounded", self.rounded)

    def timesteps(self, T, steps):
        if steps == 1:
            return np.array([T - 1.0])
        points = np.linspace(0, T - 1, steps)[::-1]
        return np.round(points) if self.rounded else points


@dataclass(frozen=True)
class SGMUniform(_Timesteps):
    """From T - 1 evenly towards 0, which is not reached; not rounded. Stability's and ComfyUI's
    "sgm_uniform"."""

    def timesteps(self, T, steps):
        return np.linspace(T - 1, 0, steps + 1)[:-1]


@dataclass(frozen=True)
class Simple(_Timesteps):
    """T - 1, and down by T / steps, rounded up: ComfyUI's "simple"."""

    def timesteps(self, T, steps):
        return T - 1 - np.floor(np.arange(steps) * (T / steps))
