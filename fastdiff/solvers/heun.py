from dataclasses import dataclass

from .base import Solver, Stage
from .linear import M, S, X


@dataclass(frozen=True)
class Heun(Solver):
    """Heun's method in rho = sigma / alpha. Karras et al. 2022, algorithm 1 (without churn).

    y = x / alpha,  d = (y - x0) / rho,  y_s = y_t + (rho_s - rho_t) (d_t + d_s) / 2

    Two model evaluations per step, the second at the Euler prediction. The anchor holds x with its
    half of d_t already added. Steps from pure noise and to clean data are Euler's: one of the
    slopes is undefined there.
    """

    order = 2

    def steps(self, path):
        for _, t, s in path.steps():
            a = s.sigma / t.sigma
            euler = a * X + (s.alpha - a * t.alpha) * M
            if s.is_clean or t.is_pure_noise:
                yield Stage(x=euler, at=s)
                continue
            half = s.alpha * (s.rho - t.rho) / 2  # alpha_s: from y back to x
            yield Stage(x=euler, at=s, s=(s.alpha / t.alpha) * X + half / t.rho * (X / t.alpha - M))
            yield Stage(x=S + half / s.rho * (X / s.alpha - M), at=s)
