from dataclasses import dataclass

from ..tables.path import decay
from .ddpm import DDPM
from .kappa import FirstOrder


@dataclass(frozen=True)
class AncestralSDE(FirstOrder):
    """The ancestral sampler of score_sde. Song et al. 2021, appendix F.

    VP: mean (x + beta score) / sqrt(1 - beta), variance beta: ``DDPM("fixed_large")``. VE: the
    posterior, with variance sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2: ``DDPM("fixed_small")``.
    """

    stochastic = True
    exact_on_point_mass = "drift"  # of VP

    def kappa(self, t, s):
        return decay(t, s)

    def noise(self, t, s):
        return DDPM("fixed_small" if t.alpha == s.alpha else "fixed_large").noise(t, s)
