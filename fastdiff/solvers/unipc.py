"""Over 60 lines: a predictor and a corrector of four orders each, with their options."""

from dataclasses import dataclass
from math import isinf

from ..arguments import sequence
from ..deprecated import renamed
from ..tables.lin import H, M, S, X
from ..typing import PredictionTarget
from .base import Solver, Stage
from .exponential import Step
from .options import plain


@renamed(quantity="prediction_target")
@dataclass(frozen=True)
class UniPC(Solver):
    """UniPC-p. Zhao et al. 2023, "UniPC: a unified predictor-corrector framework".

    One model evaluation per step. The output at the predicted x_i first corrects x_i, starting
    again from x_{i-1} (UniC-p), then carries the corrected x_i to the next point (UniP-p). One row
    does both, with the corrected x_i as the anchor.

    Attributes:
        order: p of the predictor, 1 to 4. The corrector adds one to the order of the method.
        variant: the paper's B(h): "bh1", B = -h, or "bh2", B = e^{-h} - 1. They differ where one
            equation fixes the weights (predictor of order 2, corrector of order 1) and the paper
            takes 1/2 instead of solving it.
        lower_order_final: decrease the order to one towards the end, for few steps.
        prediction_target: what is extrapolated, "x0" or "eps".
        disable_corrector: the steps (0 the first) whose landing point is not corrected.
        correct_final: correct the last point too, with one more evaluation, unless it is clean.
    """

    order: int = 2
    variant: str = "bh2"
    lower_order_final: bool = False
    prediction_target: PredictionTarget = "x0"
    disable_corrector: tuple[int, ...] = ()
    correct_final: bool = False

    def __post_init__(self):
        self.check_choice("order", 1, 2, 3, 4)
        self.check_choice("variant", "bh1", "bh2")
        self.check_choice("prediction_target", "x0", "eps")
        steps = sequence("disable_corrector", self.disable_corrector, "a tuple of steps")
        object.__setattr__(self, "disable_corrector", tuple(map(plain, steps)))
        if not all(isinstance(step, int) and step >= 0 for step in self.disable_corrector):
            raise ValueError(
                "UniPC: disable_corrector must hold numbers of steps, 0 the first, "
                f"got {self.disable_corrector!r}"
            )

    @property
    def convergence(self):
        if self.disable_corrector:
            return min(self.order, 2)
        return min(self.order + 1, 3)  # the lower-order start-up limits the others

    def steps(self, path):
        order = 1
        for i, t, s in path.steps():
            x = self._correct(path, i, order)
            order = path.order(i, self.order, self.lower_order_final, extra=self.correct_final)
            nodes = [(path[i - k], H(k)) for k in path.ages(i, order)]
            step = Step(self.prediction_target, t, s)
            yield Stage(x=step.drift(nodes, x, rule=self.variant), at=s, s=x, remember=M)
        if self.correct_final and not isinf(s.lam):
            yield Stage(x=self._correct(path, len(path), order), at=s)

    def _correct(self, path, i, order):
        """x_i from x_{i-1} with the outputs of the step between and that at x_i."""
        if i == 0 or path[i - 1].is_pure_noise or i - 1 in self.disable_corrector:
            return X
        nodes = [(path[i - 1 - k], H(k + 1)) for k in path.ages(i - 1, order)]
        step = Step(self.prediction_target, path[i - 1], path[i])
        return step.drift([*nodes, (path[i], M)], S, H(1), self.variant)
