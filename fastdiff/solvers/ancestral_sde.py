from dataclasses import dataclass

from .ddpm import DDPM


@dataclass(frozen=True)
class AncestralSDE(DDPM):
    """The ancestral sampler of score_sde. Song et al. 2021, appendix F.

    VP: mean (x + beta score) / sqrt(1 - beta), variance beta: ``DDPM("fixed_large")``. VE: the
    posterior, with variance sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2: ``DDPM("fixed_small")``.
    """

    variance: str = "fixed_large"

    def noise(self, t, s):
        return DDPM("fixed_small" if t.alpha == s.alpha else self.variance).noise(t, s)
