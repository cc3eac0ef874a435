from dataclasses import dataclass
from math import inf, sqrt

from ..tables.lin import S, X, Z
from .base import Stage
from .exponential import Exponential
from .kappa import first_order, noise_retention
from .options import check_eta


@dataclass(frozen=True)
class DPMpp2S(Exponential):
    """DPM-Solver++(2S): the midpoint method in lam for x0. Lu et al. 2022, "DPM-Solver++", alg. 1.

    Two evaluations per step, the second halfway in lam; its x0 alone makes the step. With noise
    the step ends below the next level, which is that of ``EulerAncestral``: k-diffusion's
    ``dpmpp_2s_ancestral`` (eta = 1). Steps from or to pure noise and to clean data are Euler's.

    Attributes:
        eta: noise, 0 or more; see ``Ancestral``.
        s_noise: factor of the fresh noise.
    """

    order = 2
    largest_eta = inf

    def __post_init__(self):
        super().__post_init__()
        check_eta(self, high=self.largest_eta)

    def kappa(self, t, s):
        """The fraction of the noise at s that is not fresh."""
        return noise_retention(self.eta, t, s)

    def steps(self, path):
        for _, t, s in path.steps():
            kappa = self.kappa(t, s)
            x = first_order(t, s, kappa)
            noise = self.s_noise * s.sigma * sqrt(1 - kappa**2) * Z
            if self.step(t, s).endless or kappa == 0:
                yield Stage(x=x + noise, at=s)
                continue
            middle = path.between(t, s.below(kappa), 1 / 2)
            yield Stage(x=first_order(t, middle), at=middle, s=X)
            yield Stage(x=x.substitute("x", S) + noise, at=s)
