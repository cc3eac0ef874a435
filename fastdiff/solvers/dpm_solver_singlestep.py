"""Over 60 lines: orders 1 to 3, x0 and eps, and three published ways in which stages enter."""

from dataclasses import dataclass
from math import isinf

from ..deprecated import renamed
from ..tables.lin import H, M, S, X
from ..typing import PredictionTarget
from .base import Stage
from .exponential import Exponential


@renamed(quantity="prediction_target")
@dataclass(frozen=True)
class DPMSolverSinglestep(Exponential):
    """DPM-Solver and DPM-Solver++, singlestep (2S, 3S). Lu et al. 2022, algorithms 1 and 2.

    A step of order k spans k intervals of the grid; the grid points inside are its stages, each
    reached from where the step starts. So there is one evaluation per interval, and the ratios
    r_1, r_2 of the papers (1/2; 1/3, 2/3) are those of a grid that is even in lam.

    The order is three, three, ... as long as the intervals last. A step to clean data or from pure
    noise is one of its own, of order one.

    Attributes:
        order: 1, 2 or 3.
        kind: how the stages enter. "heun": by the integrals of the polynomial through all of them.
            "midpoint": with two, half of the zeroth integral in the place of the first; with three,
            the last stage beside the start, but the last is reached by "midpoint" (diffusers).
            "paper": the same, but it is reached by "heun" (algorithm 2 of the papers).
        prediction_target: "x0" (DPM-Solver++) or "eps" (DPM-Solver).
        eta, s_noise: noise (``Exponential``), none by default. It is fresh at every stage, also at
            those within one step, as in diffusers; ``DPMppSDE`` does it on one Brownian path.
        lower_order_final: end with steps of lower order also where the intervals do not ask for it.
    """

    order: int = 2
    kind: str = "midpoint"
    prediction_target: PredictionTarget = "x0"
    lower_order_final: bool = False

    def __post_init__(self):
        super().__post_init__()
        self.check_choice("order", 1, 2, 3)
        self.check_choice("kind", "midpoint", "heun", "paper")
        self.check_choice("prediction_target", "x0", "eps")

    @property
    def convergence(self):
        return 1 if self.stochastic else self.order

    def sizes(self, path) -> list[int]:
        """The orders of the steps, in sum the number of intervals."""
        first = [1] if isinf(path[0].lam) else []
        whole, rest = divmod(len(path) - len(first), self.order)
        sizes = first + [self.order] * whole + [rest] * (rest > 0)
        if sizes[-1] > 1 and (isinf(path[-1].lam) or (self.lower_order_final and not rest)):
            sizes[-1:] = [sizes[-1] - 1, 1]
        return sizes

    def steps(self, path):
        start = 0
        for size in self.sizes(path):
            for stage in range(1, size + 1):
                step = self.step(path[start], path[start + stage])
                x = self._stage(step, path[start + 1 : start + stage], last=stage == size)
                x += self.s_noise * step.noise
                yield Stage(x=x, at=step.s, s=X if stage == 1 else None, remember=M)
            start += size

    def _stage(self, step, inside, last):
        """From the start of the step with the outputs there and at the points ``inside`` it."""
        if not inside:
            return step.drift()
        if len(inside) == 1:
            exact = self.kind == "heun" or (self.kind == "paper" and not last)
            return step.drift([(inside[0], M)], S, H(1), "heun" if exact else "midpoint")
        first = [(inside[0], H(1))] if self.kind == "heun" else []
        return step.drift([*first, (inside[1], M)], S, H(2))
