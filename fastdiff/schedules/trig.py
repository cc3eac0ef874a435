"""TrigFlow: data and noise on a circle."""

from dataclasses import dataclass

import numpy as np

from .base import Schedule, level, namespace, reals


@dataclass(frozen=True)
class TrigFlow(Schedule):
    """alpha = cos t, sigma = sigma_data sin t, t in [0, pi/2]; alpha(pi/2) is exactly 0.

    Lu and Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency models"
    (sCM), sec. 3. The network F(x / sigma_data, t) of the paper is read as a "flow" model after
    multiplication with sigma_data: sigma_data F = dx/dt.
    """

    sigma_data: float = 0.5
    t_max = np.pi / 2

    def __post_init__(self):
        level("TrigFlow", sigma_data=self.sigma_data)

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.sin(np.pi / 2 - t)

    def sigma(self, t):
        xp, t = namespace(t)
        return self.sigma_data * xp.sin(t)

    def dalpha(self, t):
        return -self.sigma(t) / self.sigma_data

    def dsigma(self, t):
        return self.sigma_data * self.alpha(t)

    def t_of_lam(self, lam):
        lam = reals("lam", lam)
        noise, signal = np.exp(np.minimum(-lam, 0)), np.exp(np.minimum(lam, 0))
        return np.arctan2(noise, self.sigma_data * signal)
