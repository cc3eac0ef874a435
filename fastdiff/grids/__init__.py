"""Where to put the steps: a grid maps (schedule, steps) to steps + 1 decreasing times, noisy first.

The last time is normally the clean end of the schedule, at which no model is evaluated; with
``final="min"`` a grid stops at its least noisy point instead. Grids that place noise levels rather
than times have a switch ``parity``: True rounds the levels to float32, as the common libraries do,
for the same samples to the last digits; False keeps float64.
"""

from ..arguments import attributes
from ..schedules import EDM, VE, DiscreteBetas, DiscreteSigmas, Schedule, VarianceExploding
from ..schedules.base import check_schedule
from .ays import AYS as AYS
from .base import Explicit as Explicit
from .base import Grid as Grid
from .base import Quadratic as Quadratic
from .base import Reversed as Reversed
from .base import Thinned as Thinned
from .base import Uniform as Uniform
from .base import check_times as check_times
from .beta import beta_quantile as beta_quantile
from .flow import Flow as Flow
from .flow import dynamic_shift as dynamic_shift
from .sigmas import Beta as Beta
from .sigmas import Exponential as Exponential
from .sigmas import Karras as Karras
from .sigmas import LogSNR as LogSNR
from .sigmas import PolyExponential as PolyExponential
from .timesteps import Leading as Leading
from .timesteps import Linspace as Linspace
from .timesteps import SGMUniform as SGMUniform
from .timesteps import Simple as Simple
from .timesteps import Trailing as Trailing


def default(schedule: Schedule) -> Grid:
    """The customary grid: Trailing for discrete timesteps, Karras for VE and EDM, else Uniform."""
    check_schedule(schedule)
    if isinstance(schedule, VarianceExploding):
        return default(schedule.base)
    if isinstance(schedule, (DiscreteBetas, DiscreteSigmas)):
        return Trailing()
    return Karras() if isinstance(schedule, (VE, EDM)) else Uniform()


__getattr__ = attributes(__name__)
