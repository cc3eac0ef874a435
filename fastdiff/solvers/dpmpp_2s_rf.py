from dataclasses import dataclass

from .dpmpp_2s import DPMpp2S
from .kappa import kept_rf


@dataclass(frozen=True)
class DPMpp2SRF(DPMpp2S):
    """``DPMpp2S`` of rectified flows; ComfyUI's ``dpmpp_2s_ancestral_RF`` (eta = 1).

    With noise a step ends at the level below of ``EulerAncestralRF``.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """

    largest_eta = 1.0

    def kappa(self, t, s):
        return kept_rf(self.eta, t, s)
