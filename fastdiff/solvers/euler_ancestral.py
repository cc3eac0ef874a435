from dataclasses import dataclass
from math import inf

from .kappa import FirstOrder, check_eta, check_range, kept


@dataclass(frozen=True)
class EulerAncestral(FirstOrder):
    """Euler to below the next noise level, then fresh noise; k-diffusion's ``euler_ancestral``.

    rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2),   rho_down = sqrt(rho_s^2 - rho_up^2)

    The noise kept is rho_down / rho_s: the same rows as ``DDIM(eta)``, and for eta = 1 as
    ``DDPM("fixed_small")``.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    def __post_init__(self):
        check_eta(self)
        check_range(self, "s_noise", inf)

    @property
    def stochastic(self):
        return self.eta > 0 and self.s_noise > 0

    @property
    def exact_on_point_mass(self):
        return "full" if self.s_noise == 1 or self.eta == 0 else "drift"

    def kappa(self, t, s):
        return kept(self.eta, t, s)

    def noise(self, t, s):
        return self.s_noise * super().noise(t, s)
