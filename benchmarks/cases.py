"""What is measured: the work of one solver step, the shapes, and the bars fastdiff is held to.

One step is all that a sampling loop does between two model evaluations: mix the stacked output
[unconditional, conditional] (classifier-free guidance), update the state, draw noise where the
solver wants some, and write the next model input for both halves.
"""

from dataclasses import dataclass, field

import fastdiff as fd

SCHEDULE = fd.schedules.DiscreteBetas.linear(1000)  # the default betas of diffusers
STEPS = 1000  # of every table: all timesteps, so that both sides agree on where they are
SCALE = 5.0  # of guidance

#: Shape -> steps in one timed block: enough that reading the clock costs nothing.
BLOCKS = {(1, 16, 7): 100, (1, 4, 64, 64): 20, (8, 4, 128, 128): 5, (64, 3, 64, 64): 5}


@dataclass(frozen=True)
class Work:
    """One solver, as fastdiff and diffusers name it.

    Attributes:
        scheduler, options: the class in diffusers, and what makes its maths the same.
        clip: bound of the x0 estimate, or None.
        by_hand: name of the maths in ``handwritten``.
    """

    name: str
    solver: fd.solvers.Solver
    scheduler: str
    options: dict = field(hash=False)
    by_hand: str
    clip: float | None = None
    schedule: fd.schedules.DiscreteBetas = SCHEDULE
    prediction: str = "eps"

    def table(self, steps: int = STEPS) -> fd.StepTable:
        return self.solver.lower(self.schedule, steps, prediction=self.prediction, clip=self.clip)


DDIM = Work(
    "DDIM + CFG", fd.solvers.DDIM(), "DDIMScheduler", {"clip_sample": False}, by_hand="ddim"
)
DPMPP_2M = Work(
    "DPM++2M + CFG",
    fd.solvers.DPMpp2M(),
    "DPMSolverMultistepScheduler",
    {"final_sigmas_type": "zero"},
    by_hand="dpmpp_2m",
)
DDPM = Work(
    "DDPM + CFG + clip + noise",
    fd.solvers.DDPM(),
    "DDPMScheduler",
    {"clip_sample": True},
    clip=1.0,
    by_hand="ddpm",
)
UNIPC = Work(
    "UniPC(2) + CFG",
    fd.solvers.UniPC(order=2),
    "UniPCMultistepScheduler",
    {"final_sigmas_type": "zero"},
    by_hand="unipc_2",
)
WORKS = (DDIM, DPMPP_2M, DDPM, UNIPC)


@dataclass(frozen=True)
class Bar:
    """At most ``limit`` us a step, or at least ``limit`` times faster than a peer."""

    limit: float
    against: str | None = None

    def __str__(self):
        return f"{self.limit:g} x {self.against}" if self.against else f"{self.limit:g} us"

    def met(self, value: float) -> bool:
        return value >= self.limit if self.against else value <= self.limit


@dataclass(frozen=True)
class Case:
    work: Work
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.work.name}, {'x'.join(map(str, self.shape))}"

    @property
    def block(self) -> int:
        return BLOCKS[self.shape]

    @property
    def bars(self) -> list[Bar]:
        noisy = self.work.solver.stochastic
        if self.shape == (1, 16, 7):
            return [Bar(1.5)]
        if self.shape == (1, 4, 64, 64):
            return [Bar(24 if noisy else 9)]
        return [Bar(12, "compiled"), Bar(3.5, "eager")] if noisy else [Bar(1, "compiled")]


CASES = [Case(work, shape) for shape in BLOCKS for work in WORKS]
