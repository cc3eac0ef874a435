"""One step of the equation of reversed time, from the noising step that it undoes."""

from dataclasses import dataclass
from math import inf, isinf, sqrt

from ..tables.lin import M, X, Z
from .base import Solver, Stage
from .kappa import first_order
from .options import check_eta


@dataclass(frozen=True)
class ReverseTime(Solver):
    """Base class. Of the noising step x_t = F x_s + G z, with score = (alpha_t x0 - x) / sigma_t^2,

    x_s = x - (F - 1) x + (1 + eta) / 2 G^2 score + sqrt(eta) G z

    Methods for small steps, not exact on a point mass. From and to pure noise, where F and G are
    infinite, and to clean data at infinite t, they take DDIM's step.

    Attributes:
        eta: 1 for the reverse SDE, 0 for the probability-flow ODE.
        denoise: no noise on the last step.
    """

    eta: float = 1.0
    denoise: bool = True
    exact_on_point_mass = "none"

    def __post_init__(self):
        check_eta(self, high=inf)

    @property
    def stochastic(self):
        return self.eta > 0

    def forward(self, path, t, s) -> tuple[float, float]:
        """``(F - 1, G^2)``."""
        raise NotImplementedError

    def steps(self, path):
        for i, t, s in path.steps():
            if t.is_pure_noise or s.is_pure_noise or isinf(s.t):
                yield Stage(x=first_order(t, s), at=s)
                continue
            growth, variance = self.forward(path, t, s)
            score = (t.alpha * M - X) / t.sigma**2
            x = X - growth * X + (1 + self.eta) / 2 * variance * score
            if not (self.denoise and i + 1 == len(path)):
                x += sqrt(self.eta * variance) * Z
            yield Stage(x=x, at=s)
