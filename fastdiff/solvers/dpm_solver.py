from dataclasses import dataclass

from .multistep import Multistep


@dataclass(frozen=True)
class DPMSolver(Multistep):
    """DPM-Solver, multistep: extrapolates eps. Lu et al. 2022, "DPM-Solver", with old outputs in
    the place of stages (the authors' code).

    x_s = (alpha_s / alpha_t) x - sigma_s (1 + eta) (J_0 eps + J_1 h eps' + J_2 h^2 eps'')
          + sigma_s sqrt(eta (e^{2h} - 1)) z

    Order 1 is ``DDIM``, order 2 of kind "heun" ``DEIS(2)``. With guidance the solvers for x0 are
    preferred (``DPMpp2M``): what is clipped stays in its range.

    Attributes:
        order: 1, 2 or 3.
        kind: how two outputs enter: "midpoint", with J_0 / 2 in the place of J_1, or "heun".
        form: how three outputs enter: "published" or "corrected", see ``DPMpp3M``.
        eta, s_noise: noise (``Exponential``), none by default.
        lower_order_final, euler_at_final: see ``Multistep``.
    """

    order: int = 2
    kind: str = "midpoint"
    form: str = "published"
    prediction_target = "eps"

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("order", 1, 2, 3)
        self.check_choice("kind", "midpoint", "heun")
        self.check_choice("form", "published", "corrected")
