from dataclasses import dataclass

from .ancestral import Ancestral
from .kappa import FirstOrder


@dataclass(frozen=True)
class EulerAncestralRF(Ancestral, FirstOrder):
    """Ancestral sampling of rectified flows; ComfyUI's and LTX's ``euler_ancestral_RF``.

    Euler to below the next level tau = sigma / (alpha + sigma), then fresh noise up to it:

    tau_down = tau_s (1 + eta (tau_s / tau_t - 1)),   rho = tau / (1 - tau) = sigma / alpha

    The fraction of the noise that is kept is rho_down / rho_s.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    def kappa(self, t, s):
        if s.is_clean or self.eta == 0:
            return 1.0
        (tau_t, rest_t), (tau_s, rest_s) = (
            (p.sigma / (p.alpha + p.sigma), p.alpha / (p.alpha + p.sigma)) for p in (t, s)
        )
        below = self.eta * (rest_s - rest_t) / tau_t  # 1 - tau_down / tau_s
        return (1 - below) * rest_s / (rest_s + below * tau_s)

    def noise(self, t, s):
        return self.s_noise * super().noise(t, s)
