"""Where to put the steps: a grid maps (schedule, steps) to steps + 1 decreasing times, noisy first.

The last time is normally the clean end of the schedule, at which no model is evaluated; with
``final="min"`` a grid stops at its least noisy point instead. Grids that place noise levels rather
than times have a switch ``parity``: True rounds the levels to float32, as the common libraries do,
for the same samples to the last digits; False keeps float64.
"""

from typing import TYPE_CHECKING

from ..arguments import attributes
from ..schedules import EDM, VE, DiscreteBetas, DiscreteSigmas, Schedule, VarianceExploding
from ..schedules.base import check_schedule
from .ays import AYS
from .base import Explicit, Grid, GridLike, Quadratic, Reversed, Thinned, Uniform, check_times
from .beta import beta_quantile
from .flow import Flow, dynamic_shift
from .sigmas import Beta, Exponential, Karras, LogSNR, PolyExponential
from .timesteps import Leading, Linspace, SGMUniform, Simple, Trailing

__all__ = [
    "AYS",
    "Beta",
    "Explicit",
    "Exponential",
    "Flow",
    "Grid",
    "GridLike",
    "Karras",
    "Leading",
    "Linspace",
    "LogSNR",
    "PolyExponential",
    "Quadratic",
    "Reversed",
    "SGMUniform",
    "Simple",
    "Thinned",
    "Trailing",
    "Uniform",
    "beta_quantile",
    "check_times",
    "default",
    "dynamic_shift",
]


def default(schedule: Schedule) -> Grid:
    """The customary grid: Trailing for discrete timesteps, Karras for VE and EDM, else Uniform."""
    check_schedule(schedule)
    if isinstance(schedule, VarianceExploding):
        return default(schedule.base)
    if isinstance(schedule, (DiscreteBetas, DiscreteSigmas)):
        return Trailing()
    return Karras() if isinstance(schedule, (VE, EDM)) else Uniform()


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
