from dataclasses import dataclass, field

from .dpmpp_2s import DPMpp2S


@dataclass(frozen=True)
class DPMpp2SAncestral(DPMpp2S):
    """``DPMpp2S`` with the noise of the posterior; k-diffusion's ``dpmpp_2s_ancestral``."""

    eta: float = field(default=1.0, kw_only=True)
