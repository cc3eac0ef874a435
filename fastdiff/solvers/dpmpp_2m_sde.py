from dataclasses import dataclass, field

from .dpmpp_2m import DPMpp2M


@dataclass(frozen=True)
class DPMpp2MSDE(DPMpp2M):
    """SDE-DPM-Solver++(2M): ``DPMpp2M`` for the reverse SDE; k-diffusion's ``dpmpp_2m_sde``.

    eta scales the noise of the SDE: fresh variance sigma_s^2 (1 - e^{-2 eta h}). Weak order 2.
    """

    eta: float = field(default=1.0, kw_only=True)
