"""Over 60 lines: a predictor and a corrector of four orders each, with noise that is a function of
time; half of it says and checks what the options are."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isinf

from ..deprecated import renamed
from ..schedules.base import reals
from ..tables.lin import H, M, S, X
from ..typing import PredictionTarget
from .base import Solver, Stage
from .exponential import Step
from .options import check_range


@renamed(quantity="prediction_target")
@dataclass(frozen=True)
class SASolver(Solver):
    """SA-Solver: stochastic Adams predictor and corrector. Xue et al. 2023, algorithm 1.

    For the SDE with tau times the noise of the reverse SDE, tau a function of time (``Step``'s eta
    is tau^2). One evaluation per step: it corrects the point where it was made, with the draw that
    led there, then predicts the next one. The anchor is what a correction starts from.

    Attributes:
        predictor_order, corrector_order: how many outputs are used, 1 to 4; corrector 0: none.
        tau: a number >= 0, or a function of the schedule's time that returns one. It is taken
            where a step starts.
        interval: (lo, hi): tau applies at times from lo to hi, elsewhere it is 0; None: everywhere.
        prediction_target: what is interpolated, "x0" or "eps". Two outputs of x0 enter as in the
            authors' code, by the rule "bh1" of ``Step``; all other integrals are exact.
        lower_order_final: decrease the orders towards the end, for few steps.
        correct_final: correct the last point too, with one more evaluation, unless it is clean.
    """

    predictor_order: int = 2
    corrector_order: int = 2
    tau: float | Callable[[float], float] = 1.0
    interval: tuple[float, float] | None = None
    prediction_target: PredictionTarget = "x0"
    lower_order_final: bool = False
    correct_final: bool = False

    def __post_init__(self):
        self.check_choice("predictor_order", 1, 2, 3, 4)
        self.check_choice("corrector_order", 0, 1, 2, 3, 4)
        self.check_choice("prediction_target", "x0", "eps")
        if not callable(self.tau):
            check_range(self, "tau", inf)
        if self.interval is not None:
            self._check_interval()

    def _check_interval(self):
        try:
            low, high = reals("interval", self.interval).tolist()
        except (TypeError, ValueError):
            low, high = 1.0, 0.0
        if not low <= high:
            raise ValueError(
                f"SASolver: interval must be (lo, hi), lo <= hi, got {self.interval!r}"
            )
        object.__setattr__(self, "interval", (low, high))

    @property
    def order(self):
        return self.predictor_order

    @property
    def convergence(self):
        last = min(self.predictor_order + 1, self.corrector_order) or self.predictor_order
        return min(last, 3 if self.corrector_order and not self.stochastic else 2)  # the start-up

    @property
    def stochastic(self):
        return callable(self.tau) or self.tau > 0

    @property
    def exact_on_point_mass(self):
        return "full" if self.prediction_target == "x0" or not self.stochastic else "drift"

    def tau_at(self, t: float) -> float:
        if self.interval is not None and not self.interval[0] <= t <= self.interval[1]:
            return 0.0
        return self.tau(t) if callable(self.tau) else self.tau

    def steps(self, path):
        step, order = None, 0
        for i, t, s in path.steps():
            x = self._corrected(path, i, step, order)
            left = len(path) - i + self.correct_final if self.lower_order_final else inf
            order = min(self.corrector_order, path.known(i) + 1, left + 1)
            behind = path.order(i, min(self.predictor_order, left))
            nodes = [(path[i - k], H(k)) for k in path.ages(i, behind)]
            step = Step(self.prediction_target, t, s, self.tau_at(t.t) ** 2)
            ahead = step.drift(nodes, x, rule=self._rule) + step.noise
            yield Stage(x=ahead, at=s, s=step.a * x + step.noise, remember=M)
        if self.correct_final and order > 0 and not isinf(s.lam):
            yield Stage(x=self._corrected(path, len(path), step, order), at=s)

    def _corrected(self, path, i, step, order):
        """x_i: what came along ``step``, and the integral of the last ``order`` outputs."""
        if order == 0 or step.endless:
            return X
        if order == 1:
            return S + step.integral(M)
        nodes = [(path[i - 1 - k], H(k + 1)) for k in path.ages(i - 1, order - 1)]
        return S + step.integral(H(1), [*nodes, (path[i], M)], self._rule)

    @property
    def _rule(self):
        return "bh1" if self.prediction_target == "x0" else "heun"
