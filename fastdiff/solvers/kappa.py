"""Every first-order solver, in one number: kappa, the fraction of the old noise that is kept.

    x_s = a x_t + b x0 + c z
    a = kappa sigma_s / sigma_t,   b = alpha_s - a alpha_t,   c = sigma_s sqrt(1 - kappa^2)

carries alpha_t x0 + sigma_t eps to alpha_s x0 + sigma_s eps' for every kappa in [0, 1]; the solvers
differ in nothing else.

Over 60 lines: what all of them, and DDIM's relatives among them, share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from ..tables.lin import EPS, Lin, M, X, Z
from ..tables.path import Path, Point, decay, gap
from .base import Solver, Stage
from .options import check_eta
from .phi import I


def first_order(t: Point, s: Point, kappa: float = 1.0) -> Lin:
    """The step from t to s (alpha_s x0 plus the fraction kappa of the noise) for M = x0."""
    if t.is_clean:  # towards noise from data that have none to scale: the model says which
        return s.alpha * M + kappa * s.sigma * EPS
    a = kappa * s.sigma / t.sigma
    return a * X + (s.alpha - a * t.alpha) * M


@dataclass(frozen=True)
class FirstOrder(Solver):
    """A solver given by ``kappa(t, s)``."""

    starts_clean = True

    def kappa(self, t: Point, s: Point) -> float:
        """Fraction of the noise at t that is kept at s."""
        raise NotImplementedError

    def noise(self, t: Point, s: Point) -> float:
        """Standard deviation of the fresh noise."""
        return s.sigma * sqrt(1 - self.kappa(t, s) ** 2)

    def steps(self, path: Path) -> Iterator[Stage]:
        for _, t, s in path.steps():
            yield Stage(x=first_order(t, s, self.kappa(t, s)) + self.noise(t, s) * Z, at=s)


@dataclass(frozen=True)
class Eta(FirstOrder):
    """kappa is that of DDIM with ``eta``, 0 to 1."""

    eta: float = 0.0

    def __post_init__(self):
        check_eta(self)

    @property
    def stochastic(self):
        return self.eta > 0

    def kappa(self, t, s):
        return noise_retention(self.eta, t, s)


def noise_retention(eta: float, t: Point, s: Point) -> float:
    """kappa of DDIM: eta scales the noise of the posterior q(x_s | x_t, x0). Where an eta above 1
    asks for more than the whole noise of s, all of it is fresh."""
    if eta == 0:
        return 1.0
    return decay(t, s) if eta == 1 else sqrt(max(retained_variance(eta, t, s), 0.0))


class RectifiedFlowNoise:
    """What the ancestral solvers of rectified flows share, whatever ODE step they make, in their
    noise level tau = sigma / (alpha + sigma):

    tau_down = tau_s (1 + eta (tau_s / tau_t - 1)),   rho = tau / (1 - tau) = sigma / alpha

    and the fraction kappa of the noise that is kept is rho_down / rho_s.
    """

    eta: float
    largest_eta = 1.0

    def kappa(self, t: Point, s: Point) -> float:
        if s.is_clean or self.eta == 0:
            return 1.0
        below = self.eta * (s.tau_rest - t.tau_rest) / t.tau  # 1 - tau_down / tau_s
        return (1 - below) * s.tau_rest / (s.tau_rest + below * s.tau)


def retained_variance(eta: float, t: Point, s: Point):
    """Its square; the numbers of the points may be tensors."""
    return 1 - eta**2 * I(0, 2 * gap(t, s))
