from dataclasses import dataclass

from ..tables.path import decay
from .kappa import FirstOrder


@dataclass(frozen=True)
class VDM(FirstOrder):
    """The ancestral sampler of variational diffusion models, the generative model p(x_s | x_t).

    Kingma et al. 2021, "Variational diffusion models", eqs. 11 and 33: q(x_s | x_t, x0) at the
    model's x0, in continuous time. The same rows as ``DDPM("fixed_small")``.
    """

    stochastic = True

    def kappa(self, t, s):
        return decay(t, s)
