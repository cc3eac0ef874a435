"""Every first-order solver, in one number: kappa, the fraction of the old noise that is kept.

    x_s = a x_t + b x0 + c z
    a = kappa sigma_s / sigma_t,   b = alpha_s - a alpha_t,   c = sigma_s sqrt(1 - kappa^2)

carries alpha_t x0 + sigma_t eps to alpha_s x0 + sigma_s eps' for every kappa in [0, 1]; the solvers
differ in nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, sqrt

from .base import Solver, Stage
from .linear import M, X, Z
from .path import Path, Point, decay


@dataclass(frozen=True)
class FirstOrder(Solver):
    """A solver given by ``kappa(t, s)``."""

    def kappa(self, t: Point, s: Point) -> float:
        """Fraction of the noise at t that is kept at s."""
        raise NotImplementedError

    def noise(self, t: Point, s: Point) -> float:
        """Standard deviation of the fresh noise."""
        return s.sigma * sqrt(1 - self.kappa(t, s) ** 2)

    def steps(self, path: Path) -> Iterator[Stage]:
        for _, t, s in path.steps():
            a = self.kappa(t, s) * s.sigma / t.sigma
            b = s.alpha - a * t.alpha
            yield Stage(x=a * X + b * M + self.noise(t, s) * Z, at=s)


def kept(eta: float, t: Point, s: Point) -> float:
    """kappa of DDIM: eta scales the noise of the posterior q(x_s | x_t, x0)."""
    E = decay(t, s)
    return E if eta == 1 else sqrt(1 - eta**2 * (1 - E * E))


def check_eta(solver: Solver, high: float = 1.0) -> None:
    """Raise unless ``solver.eta`` is a finite number from 0 to ``high``."""
    eta = solver.eta
    real = isinstance(eta, (int, float)) and not isinstance(eta, bool)
    if not (real and isfinite(eta) and 0 <= eta <= high):
        allowed = f"a number in [0, {high:g}]" if isfinite(high) else "a finite number >= 0"
        raise ValueError(f"{type(solver).__name__}: eta must be {allowed}, got {eta!r}")
