from dataclasses import dataclass

from .kappa import FirstOrder


@dataclass(frozen=True)
class FlowEuler(FirstOrder):
    """Euler's method for a rectified flow, x_s = x_t + (sigma_s - sigma_t) u. Liu et al. 2022.

    With velocity u = eps - x0 the same rows as ``Euler`` and ``DDIM(0)``, on every schedule.
    """

    def kappa(self, t, s):
        return 1.0
