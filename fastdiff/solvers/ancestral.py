"""Ancestral methods: an ODE step to below the next noise level, then fresh noise up to it."""

from dataclasses import dataclass
from math import inf

from .base import Solver
from .options import check_eta, check_range


@dataclass(frozen=True)
class Ancestral(Solver):
    """Base class.

    Attributes:
        eta: noise; 1 for that of the posterior. What more than 1 asks for is limited to the noise
            of the next level.
        s_noise: factor of the fresh noise; other than 1 the samples keep an error for small steps.
    """

    eta: float = 1.0
    s_noise: float = 1.0
    largest_eta = inf

    def __post_init__(self):
        check_eta(self, high=self.largest_eta)
        check_range(self, "s_noise", inf)

    @property
    def stochastic(self):
        return self.eta > 0 and self.s_noise > 0

    @property
    def convergence(self):
        return self.order if self.eta == 0 or self.s_noise == 1 else 0

    @property
    def exact_on_point_mass(self):
        return "full" if self.eta == 0 or self.s_noise == 1 else "drift"
