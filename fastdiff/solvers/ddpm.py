"""Over 60 lines: six variances under one name, two of them per element and one of those a range."""

from dataclasses import dataclass, replace
from math import log, sqrt

from ..tables.lin import Z
from ..tables.path import decay
from .base import Stage
from .kappa import FirstOrder, first_order

VARIANCES = (
    "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"
)  # fmt: skip


@dataclass(frozen=True)
class DDPM(FirstOrder):
    """Ancestral sampling. Ho et al. 2020, "Denoising diffusion probabilistic models", eq. 7.

    The mean is that of q(x_s | x_t, x0); the variance is

        "fixed_small"   sigma_s^2 (1 - e^{-2h}), its own           optimal for data of one point
        "fixed_large"   sigma_t^2 (1 - e^{-2h}), of q(x_t | x_s)   optimal for N(0, 1) data

        "learned"       exp(v), v the second half of the model's channels
        "learned_range" between the logarithms of small (v = -1) and large (v = 1); Nichol and
                        Dhariwal 2021, "Improved DDPM", eq. 15

    No noise is added on the step to clean data. The names with "_log" say how libraries compute the
    same numbers.
    """

    variance: str = "fixed_small"
    stochastic = True

    def __post_init__(self):
        if not isinstance(self.variance, str) or self.variance not in VARIANCES:
            raise ValueError(
                f"DDPM: variance must be one of {', '.join(map(repr, VARIANCES))}, "
                f"got {self.variance!r}"
            )

    @property
    def is_large(self) -> bool:
        return self.variance.startswith("fixed_large")

    @property
    def exact_on_point_mass(self):
        return "full" if self.variance.startswith("fixed_small") else "drift"

    def kappa(self, t, s):
        return decay(t, s)

    def noise(self, t, s):
        if not self.is_large or s.is_clean:
            return super().noise(t, s)
        return self.large(t, s)

    def large(self, t, s):
        return t.sigma * sqrt(1 - decay(t, s) ** 2)

    def gain(self, t, s):
        """(g_0, g_1): the deviation is exp(g_0 + g_1 v)."""
        if self.variance == "learned":
            return 0.0, 0.5
        small, large = log(super().noise(t, s)), log(self.large(t, s))
        return (large + small) / 2, (large - small) / 2

    def steps(self, path):
        if not self.variance.startswith("learned"):
            yield from super().steps(path)
            return
        for _, t, s in path.steps():
            mean = Stage(x=first_order(t, s, self.kappa(t, s)), at=s)
            yield mean if s.is_clean else replace(mean, x=mean.x + Z, gain=self.gain(t, s))
