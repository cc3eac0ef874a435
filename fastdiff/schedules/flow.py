"""Rectified flow: straight lines from data to noise."""

from dataclasses import dataclass

import numpy as np

from .base import Schedule, namespace, positive, reals


@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """alpha = 1 - sigma, sigma = shift t / (1 + (shift - 1) t), t in [0, 1].

    Liu et al. 2022, "Flow straight and fast"; ``shift`` is the timestep shift of Esser et al. 2024
    (SD3), eq. 23. The network is conditioned on sigma, and its "flow" prediction is the velocity in
    sigma, eps - x0, for every shift.
    """

    shift: float = 1.0

    def __post_init__(self):
        positive("RectifiedFlow", shift=self.shift)
        if not 1e-9 <= self.shift <= 1e9:
            raise ValueError(
                f"RectifiedFlow: shift must be > 0, from 1e-9 to 1e9, got {self.shift!r}"
            )

    def _stretch(self, t):
        return 1 + (self.shift - 1) * t

    def alpha(self, t):
        t = namespace(t)[1]
        return (1 - t) / self._stretch(t)

    def sigma(self, t):
        t = namespace(t)[1]
        return self.shift * t / self._stretch(t)

    def dalpha(self, t):
        return -self.dsigma(t)

    def dsigma(self, t):
        return self.shift / self._stretch(namespace(t)[1]) ** 2

    def lam(self, t):
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            return xp.log1p(-t) - xp.log(t) - float(np.log(self.shift))

    def t_of_lam(self, lam):
        # sigma = 1 / (1 + e^lam) and t = sigma / (sigma + shift alpha), from the side that does not
        # overflow
        lam = reals("lam", lam)
        signal, noise = np.exp(np.minimum(lam, 0)), np.exp(np.minimum(-lam, 0))
        return noise / (noise + self.shift * signal)

    def model_time(self, t):
        return self.sigma(t)

    def flow_rates(self, t):
        one = 0 * self.sigma(t) + 1
        return -one, one
