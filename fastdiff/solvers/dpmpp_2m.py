from dataclasses import dataclass
from math import inf, sqrt

from .base import Solver, Stage
from .kappa import check_eta
from .linear import H, M, X, Z
from .path import decay, gap
from .phi import I


@dataclass(frozen=True)
class DPMpp2M(Solver):
    """DPM-Solver++(2M): second-order multistep for x0. Lu et al. 2022, "DPM-Solver++", algorithm 2.

    x_s = (sigma_s / sigma_t) E^eta x + alpha_s (I_0 x0 + W h d) + sigma_s sqrt(1 - E^{2 eta}) z

    with E = e^{-h}, d = (x0 - x0_previous) / h_previous, and moments of length (1 + eta) h
    (``phi``). First order on the first step, after pure noise and to clean data.

    Attributes:
        kind: how x0' enters: "midpoint", W = I_0 / 2 (the paper's), or "heun", W = I_1 (exact for
            linear x0).
        eta: 0 for the ODE, 1 for the reverse SDE.
        lower_order_final: first order on the last step even if it does not end at clean data.
    """

    kind: str = "midpoint"
    eta: float = 0.0
    lower_order_final: bool = False
    order = 2

    def __post_init__(self):
        name = type(self).__name__
        check_eta(self, high=inf)
        if self.kind not in ("midpoint", "heun"):
            raise ValueError(f'{name}: kind must be "midpoint" or "heun", got {self.kind!r}')

    @property
    def stochastic(self):
        return self.eta > 0

    def steps(self, path):
        for i, t, s in path.steps():
            E, h = decay(t, s), gap(t, s)
            kept = E**self.eta
            a = kept * s.sigma / t.sigma
            x = a * X + (s.alpha - a * t.alpha) * M + s.sigma * sqrt(1 - kept**2) * Z
            if path.order(i, 2, taper=self.lower_order_final) == 2:
                length = (1 + self.eta) * h
                W = I(0, length) / 2 if self.kind == "midpoint" else I(1, length)
                x += s.alpha * W * h / gap(path[i - 1], t) * (M - H(1))
            yield Stage(x=x, at=s, remember=M)
