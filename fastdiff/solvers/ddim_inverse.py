from dataclasses import dataclass, replace

from ..grids import GridLike, Reversed, default
from ..schedules import Schedule
from ..tables.table import StepTable
from ..tables.threshold import Clip
from ..typing import Prediction
from .ddim import DDIM


@dataclass(frozen=True)
class DDIMInverse(DDIM):
    """DDIM towards noise: the latent that leads to a given sample. Song et al. 2021, sec. 4.3.

    x_s = alpha_s x0 + sigma_s eps, from a level t to the noisier s. A grid is taken from its clean
    to its noisy end.

    Attributes:
        shifted: the model is conditioned on the time of s, where DDIM on the way back will evaluate
            it (as in diffusers and in null-text inversion), instead of that of t, where x is. It
            can then start at clean data, at which no model is trained.
    """

    shifted: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.eta != 0:
            raise ValueError(f"DDIMInverse: eta must be 0, got {self.eta!r}")

    def lower(
        self,
        schedule: Schedule,
        steps: int | None = None,
        *,
        prediction: Prediction = "eps",
        grid: GridLike | None = None,
        clip: Clip | None = None,
    ) -> StepTable:
        if not isinstance(self, DDIMInverse):
            return super(DDIMInverse, DDIMInverse).lower(self, schedule, steps)  # says what to do
        grid = default(schedule) if grid is None else grid
        grid = grid if getattr(grid, "increasing", False) else Reversed(grid)
        return super().lower(schedule, steps, prediction=prediction, grid=grid, clip=clip)

    def entry(self, path):
        return self._condition(super().entry(path), path[1])

    def steps(self, path):
        for i, stage in enumerate(super().steps(path)):
            yield self._condition(stage, path[i + 2]) if i + 2 <= len(path) else stage

    def _condition(self, stage, point):
        return replace(stage, conditioning=point) if self.shifted else stage
