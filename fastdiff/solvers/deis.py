from dataclasses import dataclass

from .multistep import Multistep


@dataclass(frozen=True)
class DEIS(Multistep):
    """DEIS, log-rho Adams-Bashforth. Zhang and Chen 2023, "Fast sampling of diffusion models with
    exponential integrator", eq. 14 with polynomials in log rho.

    x_s / alpha_s = x / alpha_t + sum_j eps_j int l_j(log rho) drho,   rho = e^{-lam}

    As log rho = -lam, these are the exact integrals of ``DPMSolver`` (kind "heun", form
    "corrected"); DEIS(1) is ``DDIM``.

    Attributes:
        order: how many outputs are used, 1 to 4.
        eta, s_noise: noise (``Exponential``), none by default.
        lower_order_final, euler_at_final: see ``Multistep``.
    """

    order: int = 3
    prediction_target = "eps"

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("order", 1, 2, 3, 4)
