from dataclasses import dataclass
from math import sqrt

from .kappa import FirstOrder
from .path import decay

VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")


@dataclass(frozen=True)
class DDPM(FirstOrder):
    """Ancestral sampling. Ho et al. 2020, "Denoising diffusion probabilistic models", eq. 7.

    The mean is that of q(x_s | x_t, x0); the variance is

        "fixed_small"   sigma_s^2 (1 - e^{-2h}), its own           optimal for data of one point
        "fixed_large"   sigma_t^2 (1 - e^{-2h}), of q(x_t | x_s)   optimal for N(0, 1) data

    No noise is added on the step to clean data. The names with "_log" say how libraries compute the
    same numbers.
    """

    variance: str = "fixed_small"
    stochastic = True

    def __post_init__(self):
        if self.variance not in VARIANCES:
            raise ValueError(
                f"DDPM: variance must be one of {', '.join(map(repr, VARIANCES))}, "
                f"got {self.variance!r}"
            )

    @property
    def is_large(self) -> bool:
        return self.variance.startswith("fixed_large")

    @property
    def exact_on_point_mass(self):
        return "drift" if self.is_large else "full"

    def kappa(self, t, s):
        return decay(t, s)

    def noise(self, t, s):
        if not self.is_large or s.is_clean:
            return super().noise(t, s)
        return t.sigma * sqrt(1 - decay(t, s) ** 2)
