from dataclasses import dataclass

from ..tables.lin import M, S, X
from .base import Stage
from .churn import Churned
from .kappa import first_order


@dataclass(frozen=True)
class Heun(Churned):
    """Heun's method in rho = sigma / alpha. Karras et al. 2022, algorithm 1, and with churn 2.

    y = x / alpha,  d = (y - x0) / rho,  y_s = y_t + (rho_s - rho_t) (d_t + d_s) / 2

    Two model evaluations per step, the second at the Euler prediction. The anchor holds x with its
    half of d_t already added. Steps from or to pure noise and to clean data are Euler's: one of
    the slopes is undefined there.

    Attributes:
        s_churn, s_tmin, s_tmax, s_noise: churn (``fastdiff.solvers.churn``), off by default.
    """

    order = 2

    @staticmethod
    def scale(point) -> float:
        """k of the variable y = x / k, in which y = x0 + (sigma / k) d is a straight line."""
        return point.alpha

    def step(self, path, t, s):
        euler = first_order(t, s)
        k_t, k_s = self.scale(t), self.scale(s)
        if s.is_clean or k_t == 0 or k_s == 0:
            return [Stage(x=euler, at=s)]
        rho_t, rho_s = t.sigma / k_t, s.sigma / k_s
        half = k_s * (rho_s - rho_t) / 2  # k_s: from y back to x
        return [
            Stage(x=euler, at=s, s=(k_s / k_t) * X + half / rho_t * (X / k_t - M)),
            Stage(x=S + half / rho_s * (X / k_s - M), at=s),
        ]
