"""Over 60 lines: steps of three orders that share one budget, with noise around each."""

from dataclasses import dataclass, replace
from math import sqrt

from ..tables.lin import X0, H, M, S, X, Z
from .base import Stage
from .exponential import Exponential, Step
from .kappa import first_order, noise_retention


@dataclass(frozen=True)
class DPMFast(Exponential):
    """DPM-Solver-fast: third-order steps for eps, and at the end what the budget leaves.

    Lu et al. 2022, "DPM-Solver", algorithm 2 and section 3.4; k-diffusion's ``dpm_fast``. For n
    evaluations take n // 3 + 1 steps, even in lam, and ``rest = n % 3``. Stages are at 1/3 and 2/3
    of a step, or 1/2, in lam. With noise a step ends below the next level, as in
    ``EulerAncestral``, but not below the last one. Steps from or to pure noise and to clean data
    are Euler's.

    Attributes:
        rest: the order of the last step, 1 or 2; with 0 the last two are of order 2 and 1.
        eta: noise, 0 or more; see ``Ancestral``.
        s_noise: factor of the fresh noise.
    """

    rest: int = 1
    prediction_target = "eps"
    order = 3

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("rest", 0, 1, 2)

    @property
    def exact_on_point_mass(self):
        return "full" if self.eta == 0 or self.s_noise == 1 else "drift"

    @property
    def convergence(self):
        return 3 if self.rest == 2 else 2

    def orders(self, steps: int) -> list[int]:
        last = [self.rest] if self.rest else [2, 1]
        return ([3] * (steps - len(last)) + last)[-steps:]

    def steps(self, path):
        for (_, t, s), order in zip(path.steps(), self.orders(len(path)), strict=True):
            kappa = noise_retention(self.eta, t, s)
            if self.step(t, s).endless:
                stages = [Stage(x=first_order(t, s, kappa).substitute("m", X0), at=s)]
            else:
                kappa = max(kappa, path[-1].rho / s.rho) if self.eta else kappa
                stages = _stages(path, t, s.below(kappa), order)
            *inside, last = stages
            yield from inside
            noise = self.s_noise * s.sigma * sqrt(1 - kappa**2) * Z
            yield replace(last, x=last.x + noise, at=s)


def _stages(path, t, end, order):
    """DPM-Solver-1, -2 or -3 from t to ``end``."""

    def to(point):
        return Step("eps", t, point)

    if order == 1:
        yield Stage(x=to(end).drift(), at=end)
    elif order == 2:
        middle = path.between(t, end, 1 / 2)
        yield Stage(x=to(middle).drift(), at=middle, s=X)
        yield Stage(x=to(end).drift(base=S), at=end)
    else:
        one, two = (path.between(t, end, r) for r in (1 / 3, 2 / 3))
        yield Stage(x=to(one).drift(), at=one, s=X, remember=M)
        yield Stage(x=to(two).drift([(one, M)], S, H(1)), at=two)
        yield Stage(x=to(end).drift([(two, M)], S, H(1)), at=end)
