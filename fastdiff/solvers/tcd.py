from dataclasses import dataclass
from math import floor

from ..tables.lin import Z
from ..tables.path import decay, points
from .base import Stage
from .kappa import FirstOrder, first_order
from .options import check_range


@dataclass(frozen=True)
class TCD(FirstOrder):
    """Trajectory consistency distillation. Zheng et al. 2024, algorithm 4: strategic stochastic
    sampling.

    DDIM's step beyond s, to the time (1 - gamma) s, and back to s with fresh noise. So the fraction
    of the noise that is kept is that of rho = sigma / alpha at the two times. The earlier time is
    rounded down to a timestep if the schedule has timesteps.

    Attributes:
        gamma: 0, deterministic, to 1, all noise fresh ("eta" in diffusers).
    """

    gamma: float = 0.3

    def __post_init__(self):
        check_range(self, "gamma")

    @property
    def stochastic(self):
        return self.gamma > 0

    @property
    def convergence(self):
        return 0 if self.stochastic else 1

    def steps(self, path):
        for _, t, s in path.steps():
            kappa = 1.0 if s.is_clean else decay(s, self._beyond(path.on_schedule(self), s))
            noise = s.sigma * max(1 - kappa**2, 0.0) ** 0.5
            yield Stage(x=first_order(t, s, kappa) + noise * Z, at=s)

    def _beyond(self, schedule, s):
        time = (1 - self.gamma) * s.t
        return points(schedule, [floor(time) if schedule.T is not None else time])[0]
