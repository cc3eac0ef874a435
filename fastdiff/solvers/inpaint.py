from dataclasses import dataclass, field, replace

from .base import Solver
from .ddim import DDIM


@dataclass(frozen=True)
class Inpaint(Solver):
    """Any solver, with the known part of the sample put back at every noise level. Song et al.
    2021, "Score-based generative modeling through SDEs", appendix I.2 (imputation).

    x_s <- mask (alpha_s known + sigma_s z) + (1 - mask) x_s

    ``known`` and ``mask`` are given to ``SamplerState`` or ``sample``.
    """

    solver: Solver = field(default_factory=DDIM)
    stochastic = True
    inpaints = True

    def __post_init__(self):
        if not isinstance(self.solver, Solver) or self.solver.inpaints:
            raise TypeError(f"Inpaint: solver must be a plain solver, got {self.solver!r}")

    @property
    def prediction_target(self):
        return self.solver.prediction_target

    @property
    def order(self):
        return self.solver.order

    @property
    def convergence(self):
        return self.solver.convergence

    @property
    def exact_on_point_mass(self):
        return self.solver.exact_on_point_mass

    def entry(self, path):
        return self.solver.entry(path)

    def steps(self, path):
        for stage in self.solver.steps(path):
            yield replace(stage, known=(stage.at.alpha, stage.at.sigma))
