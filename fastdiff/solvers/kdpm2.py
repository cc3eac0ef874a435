from dataclasses import dataclass

from ..tables.lin import M, S, X
from .base import Stage
from .churn import Churned
from .kappa import first_order


def midpoint(path, t, s, kappa=1.0):
    """Half a step from t in log rho, and x at s with the fraction ``kappa`` of its noise."""
    below = s.below(kappa)
    middle = path.between(t, below, 1 / 2)
    slope = (X / middle.alpha - M) / middle.rho
    half = Stage(x=first_order(t, middle), at=middle, s=X)
    return half, s.alpha * (S / t.alpha + (below.rho - t.rho) * slope)


@dataclass(frozen=True)
class KDPM2(Churned):
    """The midpoint method in log rho, rho = sigma / alpha; k-diffusion's ``dpm_2``, DPM-Solver-2.

    Karras et al. 2022, appendix D.2; Lu et al. 2022, "DPM-Solver", algorithm 1. Two evaluations per
    step; steps from or to pure noise and to clean data are Euler's.

    Attributes:
        s_churn, s_tmin, s_tmax, s_noise: churn (``fastdiff.solvers.churn``), off by default.
    """

    order = 2

    def step(self, path, t, s):
        if s.is_clean or t.is_pure_noise or s.is_pure_noise:
            return [Stage(x=first_order(t, s), at=s)]
        half, x = midpoint(path, t, s)
        return [half, Stage(x=x, at=s)]
