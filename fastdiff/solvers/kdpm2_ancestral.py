from dataclasses import dataclass
from math import sqrt

from ..tables.lin import Z
from .ancestral import Ancestral
from .base import Stage
from .kappa import first_order, noise_retention
from .kdpm2 import midpoint


@dataclass(frozen=True)
class KDPM2Ancestral(Ancestral):
    """``KDPM2`` to below the next noise level, then fresh noise; ``dpm_2_ancestral``.

    The levels are those of ``EulerAncestral``. Weak order 2: the midpoint method is the only error,
    since adding noise is exact. Steps from pure noise and to clean data are of first order.

    Attributes:
        eta: noise, 0 or more; see ``Ancestral``.
        s_noise: factor of the fresh noise.
    """

    order = 2

    def steps(self, path):
        for _, t, s in path.steps():
            kappa = noise_retention(self.eta, t, s)
            noise = self.s_noise * s.sigma * sqrt(1 - kappa**2) * Z
            if s.is_clean or t.is_pure_noise or s.is_pure_noise or kappa == 0:
                yield Stage(x=first_order(t, s, kappa) + noise, at=s)
                continue
            half, x = midpoint(path, t, s, kappa)
            yield half
            yield Stage(x=x + noise, at=s)
