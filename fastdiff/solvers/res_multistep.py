from dataclasses import dataclass

from .dpmpp_2m import DPMpp2M


@dataclass(frozen=True)
class RESMultistep(DPMpp2M):
    """Refined exponential solver of second order, multistep: ``DPMpp2M`` of kind "heun"; ComfyUI's
    ``res_multistep``. Zhang, Song and Chen 2023, "Improved order analysis and design of exponential
    integrator for diffusion models sampling".

    Exponential Adams-Bashforth, exact for x0 that is linear in lam:

    x_s = (sigma_s / sigma_t) x + alpha_s (I_0 x0 + I_1 h d),   d = (x0 - x0_previous) / h_previous
    """

    kind: str = "heun"
