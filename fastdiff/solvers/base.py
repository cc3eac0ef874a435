"""What a solver is: a generator of stages, lowered to a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..arguments import describe
from ..deprecated import Alias, renamed_in
from ..grids import GridLike
from ..schedules import Schedule
from ..tables.lin import X
from ..tables.lowering import lower
from ..tables.path import Path
from ..tables.stage import Stage as Stage
from ..tables.table import StepTable
from ..tables.threshold import Clip
from ..typing import PointMass, Prediction, PredictionTarget
from .options import check_choice


@dataclass(frozen=True)
class Solver:
    """Base class of the solvers: a frozen dataclass of options, and ``steps``.

    Attributes:
        prediction_target: what ``M`` stands for in ``steps``, "x0" or "eps".
        order: the order in the sense of the solver's paper (weak order if stochastic).
        convergence: slope of the global error against the step size, with the solver's own
            start-up; mostly ``order``, and 0 for samplers that are no integrators.
        stochastic: whether rows draw noise.
        exact_on_point_mass: what the rows do to alpha x0 + sigma eps if the data are the one point
            x0: "full" - they carry it to the next level exactly (noise: in law), "drift" - only the
            factor of x0 is right, "none".
        inpaints: whether known data are blended in, so that sampling needs ``known`` and ``mask``.
        starts_clean: whether the steps are defined from sigma = 0 on (towards noise).
        always_save_state: whether the saved state s is of use beside the steps, so that it is
            written even where none of them reads it.
    """

    if TYPE_CHECKING:  # each of them may be a constant or a property of a subclass

        @property
        def prediction_target(self) -> PredictionTarget: ...
        @property
        def order(self) -> int: ...
        @property
        def stochastic(self) -> bool: ...
        @property
        def exact_on_point_mass(self) -> PointMass: ...

    else:
        prediction_target = "x0"
        order = 1
        stochastic = False
        exact_on_point_mass = "full"
    inpaints = False
    starts_clean = False
    always_save_state = False
    keeps_anchor = Alias("always_save_state")
    quantity = Alias("prediction_target")

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        renamed_in(cls, "keeps_anchor", "always_save_state")
        renamed_in(cls, "quantity", "prediction_target")

    @property
    def convergence(self) -> int:
        return self.order

    def check_choice(self, name: str, *allowed) -> None:
        """Raise unless the option ``name`` is one of those allowed."""
        check_choice(self, name, *allowed)

    def entry(self, path: Path) -> Stage:
        """What to do before the first model evaluation: normally nothing, at ``path[0]``.

        At clean data, where no model is trained, it is conditioned on the time of the next point.
        """
        start = path[0]
        return Stage(x=X, at=start, conditioning=path[1] if start.is_clean else None)

    def steps(self, path: Path) -> Iterator[Stage]:
        """Yield one stage per model evaluation, from ``path[0]`` to ``path[-1]``."""
        raise NotImplementedError

    def lower(
        self,
        schedule: Schedule,
        steps: int | None = None,
        *,
        prediction: Prediction = "eps",
        grid: GridLike | None = None,
        clip: Clip | None = None,
    ) -> StepTable:
        """The table of this solver on a schedule.

        Args:
            schedule: the noise schedule of the model.
            steps: number of steps (not of model evaluations); may be left out if ``grid`` is an
                array of times, which has them.
            prediction: what the model outputs, see ``fastdiff.parameterization``.
            grid: a grid of ``fastdiff.grids``, or an array of steps + 1 decreasing times; default
                by schedule.
            clip: None, a bound c > 0 or a pair (lo, hi): clamp the x0 estimate to [-c, c] or
                [lo, hi]; or a ``DynamicThreshold``.

        Raises:
            TypeError, ValueError: an argument is not as described, or the rows fail the table's own
                check.
        """
        if not isinstance(self, Solver):  # called on the class
            raise TypeError(
                f"self: expected a solver, got {describe(self)}; write DDIM().lower(schedule, "
                "steps), with an instance of the class"
            )
        return lower(self, schedule, steps, prediction=prediction, grid=grid, clip=clip)
