from dataclasses import dataclass

from ..tables.lin import EPS, M, Z
from .base import Stage
from .kappa import Eta


@dataclass(frozen=True)
class DDIM(Eta):
    """DDIM. Song, Meng and Ermon 2021, "Denoising diffusion implicit models", eqs. 12 and 16.

    x_s = alpha_s x0 + sqrt(sigma_s^2 - c^2) eps + c z,   c = eta sigma_s sqrt(1 - e^{-2h})

    eta = 0 is the deterministic sampler (Euler's method in sigma / alpha), eta = 1 the ancestral
    one.

    Attributes:
        eta: noise, 0 to 1.
        keep_eps: where x0 is clipped, use the model's own eps beside it (as diffusers does unless
            told otherwise) instead of the one that goes with the clipped x0. No difference without
            clipping.
    """

    keep_eps: bool = False

    def steps(self, path):
        if not self.keep_eps:
            yield from super().steps(path)
            return
        for _, t, s in path.steps():
            noise = self.kappa(t, s) * s.sigma * EPS + self.noise(t, s) * Z
            yield Stage(x=s.alpha * M + noise, at=s)
