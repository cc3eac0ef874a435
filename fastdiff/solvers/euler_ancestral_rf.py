from dataclasses import dataclass

from .ancestral import Ancestral
from .kappa import FirstOrder, RectifiedFlowNoise


@dataclass(frozen=True)
class EulerAncestralRF(RectifiedFlowNoise, Ancestral, FirstOrder):
    """Ancestral sampling of rectified flows; ComfyUI's and LTX's ``euler_ancestral_RF``.

    Euler to below the next level, then fresh noise up to it; how far below: ``RectifiedFlowNoise``.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    def noise(self, t, s):
        return self.s_noise * super().noise(t, s)
