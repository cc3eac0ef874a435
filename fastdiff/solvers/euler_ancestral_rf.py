from dataclasses import dataclass

from .ancestral import Ancestral
from .kappa import FirstOrder, kept_rf


@dataclass(frozen=True)
class EulerAncestralRF(Ancestral, FirstOrder):
    """Ancestral sampling of rectified flows; ComfyUI's and LTX's ``euler_ancestral_RF``.

    Euler to below the next level, then fresh noise up to it; how far below: ``kappa.kept_rf``.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    largest_eta = 1.0

    def kappa(self, t, s):
        return kept_rf(self.eta, t, s)

    def noise(self, t, s):
        return self.s_noise * super().noise(t, s)
