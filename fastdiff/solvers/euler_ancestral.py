from dataclasses import dataclass

from .kappa import FirstOrder, check_eta, kept


@dataclass(frozen=True)
class EulerAncestral(FirstOrder):
    """Euler to below the next noise level, then fresh noise; k-diffusion's ``euler_ancestral``.

    rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2),   rho_down = sqrt(rho_s^2 - rho_up^2)

    The noise kept is rho_down / rho_s: the same rows as ``DDIM(eta)``, and for eta = 1 as
    ``DDPM("fixed_small")``.
    """

    eta: float = 1.0

    def __post_init__(self):
        check_eta(self)

    @property
    def stochastic(self):
        return self.eta > 0

    def kappa(self, t, s):
        return kept(self.eta, t, s)
