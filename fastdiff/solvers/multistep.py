"""Exponential Adams-Bashforth: the outputs at the last points, extrapolated in lam."""

from dataclasses import dataclass, field

from ..tables.lin import H, M
from .base import Stage
from .exponential import Exponential


@dataclass(frozen=True)
class Multistep(Exponential):
    """Base class. Of first order on the first step, after pure noise and to clean data, of second
    order on the step after the first.

    Attributes:
        lower_order_final: decrease the order to one towards the end, for few steps (the libraries:
            fewer than 15).
        euler_at_final: first order on the last step even if it does not end at clean data.
    """

    lower_order_final: bool = field(default=False, kw_only=True)
    euler_at_final: bool = field(default=False, kw_only=True)

    kind = "heun"  # the rule (``exponential.Step``) for two outputs
    form = "corrected"  # and for three

    @property
    def convergence(self):
        return min(self.order, 2)  # the start-up limits order 3, of SDEs also the looking back

    def steps(self, path):
        for i, t, s in path.steps():
            order = path.order(i, self.order, taper=self.lower_order_final)
            if self.euler_at_final and i == len(path) - 1:
                order = 1
            nodes = [(path[i - k], H(k)) for k in path.ages(i, order)]
            step = self.step(t, s)
            x = step.drift(nodes, rule=self.kind if order == 2 else self.form)
            if self.eta:
                x += self.s_noise * step.noise
            yield Stage(x=x, at=s, remember=M)
