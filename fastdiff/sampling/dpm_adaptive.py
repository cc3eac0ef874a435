"""DPM-Solver-12 and -23 with adaptive steps in lam = log(alpha / sigma).

The rows are those of the table solvers (``solvers.exponential.Step``), made one at a time, with
their coefficients in tensors that have one of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, pi
from typing import Any

import torch
from torch import Tensor

from .. import noise, ops
from ..arguments import number, whole
from ..parameterization import read
from ..solvers.exponential import Step
from ..solvers.kappa import retained_variance
from ..tables.path import Point
from .adaptive import Solution, check_tolerances, unfinished
from .inverse import Inverse
from .returned import prediction_of


@dataclass(frozen=True)
class DPMAdaptive:
    """The adaptive solver of DPM-Solver (Lu et al. 2022, appendix C) with a PID step controller,
    as k-diffusion's ``sample_dpm_adaptive`` has it, but with a step size for every sample.

    The state is y = x / alpha, of noise rho = sigma / alpha = e^-lam; errors are measured in y.

    Attributes:
        order: 3 compares the steps of order 2 and 3, 2 those of order 1 and 2.
        rtol, atol: a step's error is kept below max(atol, rtol |y|), root mean square.
        h_init: the first step in lam.
        pcoeff, icoeff, dcoeff: of the controller.
        accept_safety: a step is accepted if the controller would shrink it by no more than this.
        eta: noise, 0 (the ODE) or more (ancestral steps).
        max_steps: attempted steps after which to give up.
    """

    order: int = 3
    rtol: float = 0.05
    atol: float = 0.0078
    h_init: float = 0.05
    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    accept_safety: float = 0.81
    eta: float = 0.0
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        check_tolerances(self)
        whole("order", self.order, least=2, most=3)
        most = 1 + pi / 2  # by which a step can grow
        checked: dict[str, dict] = {
            "h_init": {"above": 0},
            "eta": {"least": 0},
            "accept_safety": {"below": most},
        }
        for name in (*checked, "pcoeff", "icoeff", "dcoeff"):
            value = number(name, getattr(self, name), **checked.get(name, {}))
            object.__setattr__(self, name, float(value))  # of any size, which an int is not

    def sample(self, model, x, schedule, prediction, ends, seeds, cond) -> Solution:
        """See ``sample_adaptive``."""
        if not ends[1] < ends[0]:
            raise ValueError(f"end: expected a time before start = {ends[0]:g}, got {ends[1]:g}")
        if not isfinite(float(schedule.lam(ends[0]))):
            raise ValueError(
                "start: DPMAdaptive steps in lam, which is infinite at pure noise; expected a time "
                f"up to {schedule.t_largest:g}, got {ends[0]:g}"
            )
        return self.walk(Run(self, model, x, schedule, prediction, ends, seeds, cond))

    def walk(self, run: Run) -> Solution:
        """Attempt steps until every sample has arrived."""
        for _ in range(self.max_steps):
            active = run.lam < run.end - 1e-5
            if not unfinished(active, ~(run.h > 1e-12), run.lam):
                return run.solution()
            run.attempt(active)
        raise RuntimeError(f"max_steps: not every sample arrived within {self.max_steps} steps")


def _point(lam: Tensor) -> Point:
    """The noise level of y: alpha = 1, sigma = e^-lam."""
    return Point(torch.nan, 1.0, torch.exp(-lam), lam)  # type: ignore[arg-type]  # see ``Step``


class Run:
    """A batch on its way; ``attempt`` tries a step."""

    def __init__(self, solver, model, x, schedule, prediction, ends, seeds, cond):
        self.solver, self.model, self.cond = solver, model, cond
        self.schedule, self.prediction = schedule, prediction
        self.time = Inverse(schedule, ends, x.device)
        first, self.end = (float(schedule.lam(t)) for t in ends)
        self.lam = torch.full((len(x),), first, dtype=torch.float64, device=x.device)
        self.h = torch.full_like(self.lam, solver.h_init)
        self.y = x / float(schedule.alpha(ends[0]))
        self.low = self.y  # the lower-order result of the last accepted step
        self.inverse_errors = None  # of the last two accepted steps
        self.keys = noise.keys(seeds, len(x), device=x.device)
        self.accepted = torch.zeros_like(self.lam, dtype=torch.int64)
        self.rejected, self.nfe = self.accepted.clone(), self.accepted.clone()

    def solution(self) -> Solution:
        alpha = self.schedule.alpha(self.time(self.lam.clamp(max=self.end)))
        return Solution(self._column(alpha) * self.y, self.nfe, self.rejected)

    def attempt(self, active: Tensor) -> None:
        """One attempted step; samples that have arrived stay where they are."""
        target = torch.where(active, (self.lam + self.h).clamp(max=self.end), self.lam)
        landing, spread = self._split(target)
        low, high = self._steps(landing)
        delta = (self.solver.rtol * torch.maximum(low.abs(), self.low.abs())).clamp(
            min=self.solver.atol
        )
        error = ((low - high) / delta).double().flatten(1).square().mean(1).sqrt()
        good = active & self._propose(error, active)
        noise = self.noise(target, good)
        if spread is not None:
            high = high + self._column(spread) * noise
        self.y, self.low = (self._select(good, a, b) for a, b in ((high, self.y), (low, self.low)))
        self.lam = torch.where(good, target, self.lam)
        self.accepted += good
        self.rejected += active & ~good
        self.nfe += self.solver.order * active

    def _split(self, target):
        """Where the ODE steps to, and the standard deviation of the noise added there in y."""
        if not self.solver.eta:
            return target, None
        above = retained_variance(self.solver.eta, _point(self.lam), _point(target))
        below = target - 0.5 * torch.log(above.clamp(min=0.0))
        landing = torch.maximum(below.clamp(max=self.end), target)
        return landing, (torch.exp(-2 * target) - torch.exp(-2 * landing)).clamp(min=0).sqrt()

    def _steps(self, target):
        """The step to ``target`` by two orders; DPM-Solver, algorithms 1 and 2 (in y)."""
        gap = target - self.lam
        gap = torch.where(gap > 0, gap, 1e-3)  # any step where nothing moves
        points: dict[float, Any] = {
            r: _point((self.lam + r * gap)[:, None]) for r in (0, 1 / 3, 1 / 2, 2 / 3, 1)
        }
        operands = {"y": self.y, 0: self._eps(self.y, self.lam)}  # those of r > 0: differences to 0

        def reach(r, *stages, rule="heun"):
            """y at the fraction r of the step, by the eps at its start and at ``stages``."""
            names = ("y", 0, *stages)
            y, first, *others = torch.eye(len(names), dtype=self.lam.dtype, device=self.lam.device)
            nodes = [(points[s], first + o) for s, o in zip(stages, others, strict=True)]
            row: Any = Step("eps", points[0], points[r]).drift(nodes, y, first, rule)
            terms = zip(row.unbind(1), names, strict=True)
            return sum(self._column(c) * operands[name] for c, name in terms)

        def evaluate(r, *stages):
            operands[r] = self._eps(reach(r, *stages), points[r].lam[:, 0]) - operands[0]

        if self.solver.order == 2:
            evaluate(1 / 2)
            return reach(1), reach(1, 1 / 2, rule="midpoint")
        evaluate(1 / 3)
        evaluate(2 / 3, 1 / 3)
        return reach(1, 1 / 3, rule="midpoint"), reach(1, 2 / 3)

    def _eps(self, y, lam):
        t = self.time(lam)
        reading = read(self.prediction, self.schedule, t)
        x = self._column(self.schedule.alpha(t)) * y
        scale = self._column(self.schedule.input_scale(t))
        out = self.model(scale * x, self.schedule.model_time(t).to(y.dtype), **self.cond)
        prediction_of(out, x)
        return self._column(reading.eps_x) * x + self._column(reading.eps_out) * out.to(y.dtype)

    def _propose(self, error, active):
        """Whether to accept, by the PID controller; sets the next h of the active samples."""
        s = self.solver
        inverse = 1 / (error + 1e-8)
        second, third = self.inverse_errors or (inverse, inverse)
        exponents = (s.pcoeff + s.icoeff + s.dcoeff, -(s.pcoeff + 2 * s.dcoeff), s.dcoeff)
        order = 1.5 if s.eta else s.order
        factor = torch.ones_like(error)
        for e, value in zip(exponents, (inverse, second, third), strict=True):
            factor = factor * value ** (e / order)
        factor = (1 + torch.atan(factor - 1)).nan_to_num(nan=0.2)
        good = factor >= s.accept_safety
        self.h = torch.where(active, self.h * factor, self.h)
        shift = good & active
        self.inverse_errors = torch.where(shift, inverse, second), torch.where(shift, second, third)
        return good

    def noise(self, target: Tensor, good: Tensor) -> Tensor | None:
        """The next draw of each sample: one for each of its accepted steps. [B] ``good`` says which
        are, and ``target`` to which lam."""
        if not self.solver.eta:
            return None
        blocks = -(-self.y[0].numel() // 4)
        offset = torch.stack([torch.zeros_like(self.accepted), (self.accepted + 1) * blocks], 1)
        return ops.normal(self.keys + offset, self.y.shape[1:], dtype=self.y.dtype)

    def _column(self, values):
        return values.to(self.y.dtype).reshape(-1, *[1] * (self.y.dim() - 1))

    def _select(self, mask, a, b):
        return torch.where(mask.reshape(-1, *[1] * (self.y.dim() - 1)), a, b)
