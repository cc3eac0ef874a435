"""Grids for rectified flows, spaced in tau = sigma / (alpha + sigma)."""

from dataclasses import dataclass, field

import numpy as np

from ..arguments import number as number_of
from ..arguments import sequence
from ..schedules.base import number, positive
from .base import Grid, append_clean
from .sigmas import Sigmas


@dataclass(frozen=True)
class Flow(Grid):
    """tau = sigma / (alpha + sigma), the "sigma" of a rectified flow: even, then shifted.

    tau <- shift tau / (1 + (shift - 1) tau)                    Esser et al. 2024 (SD3), eq. 23
    tau <- 1 - (1 - tau) (1 - terminal) / (1 - tau_last)        the last one put at ``terminal``

    and one last jump to clean data. The shift acts on tau itself, so on a schedule that is shifted
    already (``RectifiedFlow(shift)``) the two do not add up: the points are those of the grid.

    Attributes:
        shift: > 0; of a resolution, see ``dynamic_shift``.
        end: the last tau before shifting; default 1 / steps.
        terminal: the last tau after shifting, in (0, 1); default: where the shift puts it.
        family: a grid of ``fastdiff.grids.sigmas`` whose spacing is used between the first and the
            last tau instead.
        parity: round tau to float32.
    """

    shift: float = 1.0
    end: float | None = None
    terminal: float | None = None
    family: Sigmas | None = None
    parity: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        positive("Flow", shift=self.shift)
        for name in ("end", "terminal"):
            value = getattr(self, name)
            if value is not None:
                number("Flow", **{name: value})
                if not 0 < value < 1:
                    raise ValueError(f"Flow: {name} must be in (0, 1), got {value!r}")
        if not (self.family is None or isinstance(self.family, Sigmas)):
            raise TypeError(f"Flow: family must be a grid of sigmas, got {self.family!r}")

    def times(self, schedule, steps):
        tau = np.linspace(1, 1 / steps if self.end is None else self.end, steps)
        tau = self.shift * tau / (1 + (self.shift - 1) * tau)
        if self.terminal is not None and steps > 1:
            tau = 1 - (1 - tau) * ((1 - self.terminal) / (1 - tau[-1]))
        if self.family is not None:
            tau = self.family.spacing(tau[0], tau[-1], np.linspace(0, 1, steps))
        if self.parity:
            tau = tau.astype(np.float32).astype(np.float64)
        with np.errstate(divide="ignore"):
            lam = np.maximum(np.log1p(-tau) - np.log(tau), schedule.lam(schedule.t_max))
        return append_clean(self, schedule, schedule.t_of_lam(lam))


def dynamic_shift(
    tokens: float,
    base: tuple[float, float] = (256, 0.5),
    high: tuple[float, float] = (4096, 1.15),
) -> float:
    """The shift of an image of so many tokens: e^mu, mu linear in tokens. Flux's rule.

    Args:
        tokens: length of the model's sequence of image tokens.
        base, high: (tokens, mu) at two sizes.
    """
    tokens = number_of("tokens", tokens, above=0)
    base, high = _pair("base", base), _pair("high", high)
    if not base[0] < high[0]:
        raise ValueError(f"high: expected more tokens than base = {base}, got {high}")
    slope = (high[1] - base[1]) / (high[0] - base[0])
    mu = base[1] + slope * (tokens - base[0])
    if not abs(mu) < 700:
        raise ValueError(f"tokens: expected a size of which e^mu is a number, got mu = {mu:g}")
    return float(np.exp(mu))


def _pair(name, pair) -> tuple[float, float]:
    first, second = sequence(name, pair, "a pair (tokens, mu)", 2)
    return number_of(f"{name}[0]", first), number_of(f"{name}[1]", second)
