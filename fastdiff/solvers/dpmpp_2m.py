from dataclasses import dataclass

from .multistep import Multistep


@dataclass(frozen=True)
class DPMpp2M(Multistep):
    """DPM-Solver++(2M): second-order multistep for x0. Lu et al. 2022, "DPM-Solver++", algorithm 2.

    x_s = (sigma_s / sigma_t) E^eta x + alpha_s (I_0 x0 + W h d) + sigma_s sqrt(1 - E^{2 eta}) z

    with E = e^{-h}, d = (x0 - x0_previous) / h_previous, and moments of length (1 + eta) h
    (``phi``).

    Attributes:
        kind: how x0' enters: "midpoint", W = I_0 / 2 (the paper's), or "heun", W = I_1 (exact for
            linear x0).
        eta, s_noise: noise (``Exponential``), none by default.
        lower_order_final, euler_at_final: see ``Multistep``; here the same.
    """

    kind: str = "midpoint"
    order = 2

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("kind", "midpoint", "heun")
