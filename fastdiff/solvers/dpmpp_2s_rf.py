from dataclasses import dataclass

from .dpmpp_2s import DPMpp2S
from .kappa import RectifiedFlowNoise


@dataclass(frozen=True)
class DPMpp2SRF(RectifiedFlowNoise, DPMpp2S):
    """``DPMpp2S`` of rectified flows; ComfyUI's ``dpmpp_2s_ancestral_RF`` (eta = 1).

    With noise a step ends at the level below of ``EulerAncestralRF``.

    Attributes:
        eta: noise, 0 to 1.
        s_noise: factor of the fresh noise.
    """
