from dataclasses import dataclass

from .ancestral import Ancestral
from .kappa import FirstOrder, noise_retention


@dataclass(frozen=True)
class EulerAncestral(Ancestral, FirstOrder):
    """Euler to below the next noise level, then fresh noise; k-diffusion's ``euler_ancestral``.

    rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2),   rho_down = sqrt(rho_s^2 - rho_up^2)

    The noise kept is rho_down / rho_s: the same rows as ``DDIM(eta)``, and for eta = 1 as
    ``DDPM("fixed_small")``.

    Attributes:
        eta: noise, 0 or more; see ``Ancestral``.
        s_noise: factor of the fresh noise.
    """

    def kappa(self, t, s):
        return noise_retention(self.eta, t, s)

    def noise(self, t, s):
        return self.s_noise * super().noise(t, s)
