from dataclasses import dataclass
from math import inf, isinf, sqrt

from .. import processes
from .base import Solver, Stage
from .kappa import check_eta, first_order
from .linear import M, X, Z


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler-Maruyama for the reverse SDE in t. Song et al. 2021, eq. 6, predictor of algorithm 1.

    x_s = x - f x (t - s) + (1 + eta) / 2 g^2 (t - s) score + sqrt(eta (t - s)) g z

    with f, g of the schedule's process (``fastdiff.processes``). A method for small steps, not
    exact on a point mass. From and to pure noise, where f and g are infinite, and to clean data at
    infinite t, it takes DDIM's step.

    Attributes:
        eta: 1 for the reverse SDE, 0 for the probability-flow ODE.
        denoise: no noise on the last step.
        uniform: take every step to be t_max / N long, as score_sde does, whose times end above
            zero.
    """

    eta: float = 1.0
    denoise: bool = True
    uniform: bool = False
    exact_on_point_mass = "none"

    def __post_init__(self):
        check_eta(self, high=inf)

    @property
    def stochastic(self):
        return self.eta > 0

    def forward(self, path, t, s):
        """``(F - 1, G^2)`` of the noising step x_t = F x_s + G z that is reversed."""
        process = processes.of(path.schedule)
        length = path.schedule.t_max / len(path) if self.uniform else t.t - s.t
        return float(process.drift(t.t)) * length, float(process.diffusion2(t.t)) * length

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
