from dataclasses import dataclass

from .kappa import FirstOrder


@dataclass(frozen=True)
class Euler(FirstOrder):
    """Euler's method for the probability-flow ODE in rho = sigma / alpha. Karras et al. 2022.

    d(x / alpha) = (x / alpha - x0) / rho d rho, which keeps all of the noise: the same rows as
    ``DDIM(0)``, as Euler's method in t for a rectified flow, and as first-order DPM-Solver.
    """

    def kappa(self, t, s):
        return 1.0
