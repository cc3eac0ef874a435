from dataclasses import dataclass

from .base import Stage
from .kappa import FirstOrder, kept
from .linear import EPS_U, M, Z
from .options import check_eta


@dataclass(frozen=True)
class DDIMCFGpp(FirstOrder):
    """DDIM with CFG++. Chung et al. 2024, "CFG++: manifold-constrained classifier free guidance",
    algorithm 2.

    x_s = alpha_s x0 + kappa sigma_s eps_u + c z

    x0 comes from the guided output, the noise that is put back from the unconditional one. Scales
    are small there: 0 to 1. Without guidance it is DDIM.

    Attributes:
        eta: as in ``DDIM``.
    """

    eta: float = 0.0

    def __post_init__(self):
        check_eta(self)

    @property
    def stochastic(self):
        return self.eta > 0

    def kappa(self, t, s):
        return kept(self.eta, t, s)

    def steps(self, path):
        for _, t, s in path.steps():
            noise = self.kappa(t, s) * s.sigma * EPS_U + self.noise(t, s) * Z
            yield Stage(x=s.alpha * M + noise, at=s)
