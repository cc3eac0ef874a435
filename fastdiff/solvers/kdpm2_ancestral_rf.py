from dataclasses import dataclass
from math import log, log1p, sqrt

from ..tables.lin import M, S, X, Z
from .ancestral import Ancestral
from .base import Stage
from .kappa import RectifiedFlowNoise, first_order


@dataclass(frozen=True)
class KDPM2AncestralRF(RectifiedFlowNoise, Ancestral):
    """``KDPM2Ancestral`` of rectified flows; ComfyUI's ``dpm_2_ancestral_RF``.

    The midpoint method in log tau for y = x / (alpha + sigma), whose level is tau = sigma / (alpha
    + sigma), to the level below of ``EulerAncestralRF``; then fresh noise. Unlike in rho, pure
    noise is an ordinary point of it. Steps to clean data are Euler's.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    order = 2

    def steps(self, path):
        for _, t, s in path.steps():
            kappa = self.kappa(t, s)
            noise = self.s_noise * s.sigma * sqrt(1 - kappa**2) * Z
            if s.is_clean:
                yield Stage(x=first_order(t, s), at=s)
                continue
            down = s.below(kappa)
            log_tau = (log(t.tau) + log(down.tau)) / 2
            middle = path.at_lam(log1p(-sqrt(t.tau * down.tau)) - log_tau)
            slope = (X / (middle.alpha + middle.sigma) - M) / middle.tau
            y = S / (t.alpha + t.sigma) + (down.tau - t.tau) * slope
            yield Stage(x=first_order(t, middle), at=middle, s=X)
            yield Stage(x=(down.alpha + down.sigma) * y + noise, at=s)
