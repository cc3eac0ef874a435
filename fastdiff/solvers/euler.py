from dataclasses import dataclass
from math import sqrt

from ..tables.lin import EPS, X, Z
from .base import Stage
from .churn import Churned
from .kappa import first_order


@dataclass(frozen=True)
class Euler(Churned):
    """Euler's method for the probability-flow ODE in rho = sigma / alpha. Karras et al. 2022.

    d(x / alpha) = (x / alpha - x0) / rho d rho, which keeps all of the noise: the same rows as
    ``DDIM(0)``, as Euler's method in t for a rectified flow, and as first-order DPM-Solver.

    Attributes:
        s_churn, s_tmin, s_tmax, s_noise: churn (``fastdiff.solvers.churn``), off by default.
        late: where churn enters. False: before the model, which sees the raised level, as in
            Karras et al. and in k-diffusion. True: after the model, which sees the level below, as
            in diffusers' Euler for eps models:
            y_s = y + S_noise sqrt(rho^^2 - rho^2) z + (rho_s - rho^) eps(y, rho).
    """

    late: bool = False
    starts_clean = True

    @property
    def exact_on_point_mass(self):
        return "drift" if self.late and self.s_churn > 0 else super().exact_on_point_mass

    def step(self, path, t, s):
        return [Stage(x=first_order(t, s), at=s)]

    def entry(self, path):
        return super(Churned, self).entry(path) if self.late else super().entry(path)

    def steps(self, path):
        if not self.late:
            yield from super().steps(path)
            return
        for _, t, s in path.steps():
            gamma = self.gamma(path, t)
            if gamma == 0:
                yield Stage(x=first_order(t, s), at=s)
                continue
            noise = self.s_noise * t.rho * sqrt(gamma * (2 + gamma)) * Z
            y = X / t.alpha + noise + (s.rho - (1 + gamma) * t.rho) * EPS
            yield Stage(x=s.alpha * y, at=s)
