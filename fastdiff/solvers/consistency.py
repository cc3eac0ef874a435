from dataclasses import dataclass
from math import inf, sqrt

from .kappa import FirstOrder
from .options import check_range


@dataclass(frozen=True)
class Consistency(FirstOrder):
    """Multistep consistency sampling. Song et al. 2023, "Consistency models", algorithm 1.

    x_s = alpha_s D + alpha_s s_noise sqrt(rho_s^2 - sigma_min^2) z,   rho = sigma / alpha

    D is what the model makes of x_t, taken as a sample at noise level ``sigma_min``; nothing of the
    old noise is kept. With an ordinary denoiser as the model this does not converge: D would be a
    mean instead of a sample. A consistency network of the paper is read with prediction
    "consistency" on ``EDM(precondition=True)``.

    Attributes:
        sigma_min: rho of the model's samples; 0: they are clean data.
        s_noise: factor of the noise.
    """

    sigma_min: float = 0.0
    s_noise: float = 1.0
    stochastic = True

    def __post_init__(self):
        check_range(self, "sigma_min", inf)
        check_range(self, "s_noise", inf)

    @property
    def convergence(self):
        return 0

    @property
    def exact_on_point_mass(self):
        return "full" if self.sigma_min == 0 and self.s_noise == 1 else "drift"

    def kappa(self, t, s):
        return 0.0

    def noise(self, t, s):
        variance = s.sigma**2 - (s.alpha * self.sigma_min) ** 2
        return self.s_noise * sqrt(max(variance, 0.0))
