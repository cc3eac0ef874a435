from dataclasses import dataclass

from .multistep import Multistep


@dataclass(frozen=True)
class DPMpp3M(Multistep):
    """DPM-Solver++(3M): three outputs for x0, and their derivatives x0', x0'' in lam.

    x_s = (sigma_s / sigma_t) E^eta x + alpha_s (I_0 x0 + I_1 h x0' + I_2 h^2 x0'') + noise

    There are two of them. With the differences d = (x0 - x0_1) / h_1, e = (x0_1 - x0_2) / h_2 and
    their own, dd = (d - e) / (h_1 + h_2), the quadratic through the outputs has x0'' = 2 dd.

        "corrected"  x0'' = 2 dd: third order, the predictor UniP-3
        "published"  x0'' = dd, half of it: second order, but the samples that everybody knows, of
                     the authors' code, of diffusers and of k-diffusion

    Attributes:
        form: "published" or "corrected".
        kind: how the steps with two outputs (the second one) are taken, see ``DPMpp2M``.
        eta, s_noise: noise (``Exponential``), none by default.
        lower_order_final, euler_at_final: see ``Multistep``.
    """

    form: str = "published"
    kind: str = "midpoint"
    order = 3

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("form", "published", "corrected")
        self.check_choice("kind", "midpoint", "heun")
