"""Churn: noise added before a step, which then starts above its level. Karras et al. 2022, alg. 2.

    gamma = min(S_churn / N, sqrt(2) - 1)  where S_tmin <= rho <= S_tmax, else 0
    rho^ = (1 + gamma) rho,   y^ = y + S_noise sqrt(rho^^2 - rho^2) z,   y = x / alpha

In rows this noise belongs to the end of the step before, or to the entry row: the model's next
evaluation is at the raised level. No level is raised above the noisiest that a model of the
schedule knows (``Schedule.t_limit``).

Over 60 lines: the base of five solvers, with the options and the levels of all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, log1p, sqrt

from ..tables.lin import Lin, X, Z
from ..tables.path import Path, Point
from .base import Solver, Stage
from .options import check_range, plain


@dataclass(frozen=True)
class Churned(Solver):
    """A solver given by the stages of one ``step``, with churn before each.

    Attributes:
        s_churn: how much noise in all; 0: none.
        s_tmin, s_tmax: where, in rho = sigma / alpha.
        s_noise: factor of its standard deviation.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = inf
    s_noise: float = 1.0

    def __post_init__(self):
        for name in ("s_churn", "s_noise", "s_tmin"):
            check_range(self, name, inf)
        object.__setattr__(self, "s_tmax", plain(self.s_tmax))
        if not (isinstance(self.s_tmax, (int, float)) and self.s_tmax >= self.s_tmin):
            raise ValueError(
                f"{type(self).__name__}: s_tmax must be >= s_tmin = {self.s_tmin}, "
                f"got {self.s_tmax!r}"
            )

    @property
    def stochastic(self):
        return self.s_churn > 0 and self.s_noise > 0

    @property
    def exact_on_point_mass(self):
        return "full" if self.s_churn == 0 or self.s_noise == 1 else "drift"

    @property
    def convergence(self):
        return 0 if self.stochastic and self.s_noise != 1 else self.order

    def step(self, path: Path, t: Point, s: Point) -> list[Stage]:
        """The stages of one step from t to s."""
        raise NotImplementedError

    def gamma(self, path: Path, point: Point) -> float:
        """By which fraction the level of a point is raised before the step that starts there."""
        if self.s_churn == 0 or point.is_pure_noise or point.is_clean:
            return 0.0
        inside = self.s_tmin <= point.rho <= self.s_tmax
        return min(self.s_churn / len(path), sqrt(2) - 1) if inside else 0.0

    def _raised(self, path: Path, i: int) -> Point:
        gamma = self.gamma(path, path[i]) if i < len(path) else 0.0
        return path.noisier(path[i].lam - log1p(gamma)) if gamma > 0 else path[i]

    def _lift(self, x: Lin, s: Point, raised: Point) -> Lin:
        """x at level s with the noise that raises it."""
        if raised is s:
            return x
        fresh = sqrt(max(raised.rho**2 - s.rho**2, 0.0))
        return raised.alpha * (x / s.alpha + self.s_noise * fresh * Z)

    def entry(self, path: Path) -> Stage:
        raised = self._raised(path, 0)
        return Stage(x=self._lift(X, path[0], raised), at=raised)

    def steps(self, path: Path) -> Iterator[Stage]:
        t = self._raised(path, 0)
        for i, _, s in path.steps():
            *stages, last = self.step(path, t, s)
            yield from stages
            t = self._raised(path, i + 1)
            yield replace(last, x=self._lift(last.x, s, t), at=t)
