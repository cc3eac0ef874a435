from dataclasses import dataclass, field

from .dpmpp_3m import DPMpp3M


@dataclass(frozen=True)
class DPMpp3MSDE(DPMpp3M):
    """SDE-DPM-Solver++(3M): ``DPMpp3M`` for the reverse SDE; k-diffusion's ``dpmpp_3m_sde``.

    Looking back limits it to weak order 2 in both forms; the corrected one has the smaller error.
    """

    kind: str = "heun"
    eta: float = field(default=1.0, kw_only=True)
