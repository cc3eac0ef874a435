from dataclasses import dataclass

from .heun import Heun


@dataclass(frozen=True)
class EDMHeun(Heun):
    """The stochastic sampler of EDM: ``Heun`` with the churn of Karras et al. 2022, algorithm 2.

    The defaults are the paper's for ImageNet 64x64 (table 5).
    """

    s_churn: float = 40.0
    s_tmin: float = 0.05
    s_tmax: float = 50.0
    s_noise: float = 1.003
