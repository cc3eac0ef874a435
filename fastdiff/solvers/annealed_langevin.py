from dataclasses import dataclass
from math import inf, sqrt

from ..tables.lin import M, X, Z
from .base import Solver, Stage
from .kappa import first_order
from .options import check_count, check_range


@dataclass(frozen=True)
class AnnealedLangevin(Solver):
    """Annealed Langevin dynamics. Song and Ermon 2019, "Generative modeling by estimating gradients
    of the data distribution", algorithm 1.

    x <- x + a / 2 score + sqrt(a) z,   a = step sigma^2,   ``repeats`` times at each noise level

    Between levels x / alpha is kept. From pure noise DDIM's step is taken.

    Attributes:
        step: epsilon / sigma_L^2 of the paper, 2e-5 / 0.01^2 = 0.2 there; < 4 is stable.
        repeats: T of the paper, 100 there.
        denoise: end, on a grid that ends with clean data, with the mean x0 of the last x, by one
            more evaluation (Song and Ermon 2020, "Improved techniques", sec. 3.5).
    """

    step: float = 0.2
    repeats: int = 5
    denoise: bool = True
    stochastic = True
    exact_on_point_mass = "none"

    def __post_init__(self):
        check_range(self, "step", inf)
        check_count(self, "repeats")

    @property
    def convergence(self):
        return 0

    def steps(self, path):
        for _, t, s in path.steps():
            if t.is_pure_noise:
                yield Stage(x=first_order(t, s), at=s)
                continue
            x = X + self.step / 2 * (t.alpha * M - X) + sqrt(self.step) * t.sigma * Z
            for _ in range(self.repeats - 1):
                yield Stage(x=x, at=t)
            if s.is_clean and self.denoise:
                yield Stage(x=x, at=t)
                yield Stage(x=s.alpha * M, at=s)
            else:
                yield Stage(x=(s.alpha / t.alpha) * x, at=s)
