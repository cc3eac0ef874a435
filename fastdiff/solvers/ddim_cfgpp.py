from dataclasses import dataclass

from ..tables.lin import EPS_U, M, Z
from .base import Stage
from .kappa import Eta


@dataclass(frozen=True)
class DDIMCFGpp(Eta):
    """DDIM with CFG++. Chung et al. 2024, "CFG++: manifold-constrained classifier free guidance",
    algorithm 2.

    x_s = alpha_s x0 + kappa sigma_s eps_u + c z

    x0 comes from the guided output, the noise that is put back from the unconditional one. Scales
    are small there: 0 to 1. Without guidance it is DDIM.

    Attributes:
        eta: as in ``DDIM``.
    """

    def steps(self, path):
        for _, t, s in path.steps():
            noise = self.kappa(t, s) * s.sigma * EPS_U + self.noise(t, s) * Z
            yield Stage(x=s.alpha * M + noise, at=s)
