"""Adaptive solvers: every sample has its own step size, chosen from an estimate of its error.

The rows of a table are fixed before the first model call; here they depend on the state, so these
solvers are loops of their own. Nothing in them waits for the device but the question whether any
sample is left, once a step. Samples are independent: one computed alone takes the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ..arguments import describe, function, instance, number, tensor, whole
from ..ops.library import require_memory
from ..parameterization import check_prediction
from ..schedules import Schedule
from ..typing import Prediction
from .velocity import ends, span, velocity


class StepSizeError(FloatingPointError, RuntimeError):
    """The step size of a sample collapsed."""


class Solution(NamedTuple):
    """Where the samples arrived, and what it took.

    Attributes:
        x: [B, ...] the states.
        nfe: [B] int64, evaluations of the model at each sample until it arrived.
        rejected: [B] int64, attempted steps that were too long.
    """

    x: Tensor
    nfe: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class RK45:
    """The Runge-Kutta pair of Dormand and Prince, 1980, for the probability-flow ODE.

    Step control of ``scipy.integrate.solve_ivp(method="RK45")``, which samplers customarily call
    (Song et al. 2021, "Score-based generative modeling through SDEs", appendix D.4), sample by
    sample.

    Attributes:
        rtol, atol: a step's error is kept below atol + rtol |x|, root mean square over elements.
        max_steps: attempted steps after which to give up.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        check_tolerances(self)

    def __call__(
        self, f: Callable, y: Tensor, start: float, end: float, variable: str = "lam"
    ) -> Solution:
        """Integrate dy/dt = f(t [B] float64, y [B, N]) -> [B, N] from ``start`` to ``end``; t is
        called ``variable`` in messages."""
        t = torch.full((len(y),), start, dtype=torch.float64, device=y.device)
        k = f(t, y)
        h = self._first_step(f, t, y, k, end - start)
        nfe, rejected = torch.full_like(t, 2, dtype=torch.int64), torch.zeros_like(t).long()
        retry = torch.zeros_like(t, dtype=torch.bool)
        for _ in range(self.max_steps):
            active = t != end
            collapsed = ~(h.abs() >= 1e-14 * max(abs(start), abs(end)))  # so is NaN
            if not unfinished(active, collapsed, t, variable):
                return Solution(y, nfe, rejected)
            last = (end - t).abs() <= h.abs()
            step = torch.where(active, torch.where(last, end - t, h), 0.0)
            following, slope, error = _dormand_prince(f, t, y, k, step)
            error = _rms(error / (self.atol + self.rtol * torch.maximum(y.abs(), following.abs())))
            good = active & (error < 1)
            factor = (0.9 * error**-0.2).nan_to_num(nan=0.2, posinf=10.0).clamp(0.2, 10.0)
            h = step.where(active, h) * torch.where(retry | ~good, factor.clamp(max=1.0), factor)
            t = torch.where(good, torch.where(last, end, t + step), t)
            y, k = (torch.where(good[:, None], a, b) for a, b in ((following, y), (slope, k)))
            retry = active & ~good
            nfe, rejected = nfe + 6 * active, rejected + retry
        raise RuntimeError(f"max_steps: not every sample arrived within {self.max_steps} steps")

    def _first_step(self, f, t, y, k, span):
        """Hairer, Norsett and Wanner, "Solving ordinary differential equations I", sec. II.4."""
        scale = self.atol + self.rtol * y.abs()
        size, slope = _rms(y / scale), _rms(k / scale)
        guess = torch.where((size < 1e-5) | (slope < 1e-5), 1e-6, 0.01 * size / slope)
        guess = guess.clamp(max=abs(span))
        sign = 1.0 if span > 0 else -1.0
        probe = f(t + sign * guess, y + (sign * guess)[:, None].to(y) * k)
        bend = _rms((probe - k) / scale) / guess
        steep = torch.maximum(slope, bend)
        flat = torch.clamp(1e-3 * guess, min=1e-6)
        h = torch.where(steep <= 1e-15, flat, (0.01 / steep) ** 0.2)
        return sign * torch.minimum(h, 100 * guess).clamp(max=abs(span))


@torch.no_grad()
def sample_adaptive(
    model,
    x: Tensor,
    schedule: Schedule,
    solver=None,
    *,
    prediction: Prediction = "eps",
    start: float | None = None,
    end: float | None = None,
    seeds=0,
    cond: dict | None = None,
) -> Solution:
    """Draw samples with an adaptive solver.

    Args:
        model: model(x, t, **cond) -> prediction, in any dtype; for guidance pass a function that
            mixes two calls.
        x: [B, ...] float32 or float64 initial state at ``start``.
        schedule, prediction: what the model was trained for.
        solver: ``RK45(...)`` (default) or ``DPMAdaptive(...)``.
        start, end: times, by default the schedule's ``t_largest`` and ``t_smallest``; with end
            above start RK45 runs from data to noise. At pure noise (t = 1 of ``RectifiedFlow``)
            RK45 needs a prediction that tells x0 there ("flow", "v", "x0") and a schedule with
            finite slopes; ``DPMAdaptive`` cannot start there.
        seeds: noise seeds of a stochastic solver, see ``SamplerState``.
        cond: keyword arguments of the model.

    Raises:
        ValueError: a time outside the schedule, or pure noise where it cannot be.
        FloatingPointError: a step size collapsed, as it does where the model returns NaN.
        RuntimeError: ``max_steps`` was not enough.
    """
    function("model", model)
    check_state(x)
    check_prediction(prediction, schedule)
    solver = RK45() if solver is None else solver
    if not hasattr(solver, "sample"):
        instance("solver", solver, RK45, "an adaptive solver: RK45() or DPMAdaptive()")
    elif isinstance(solver, type):
        raise TypeError(f"solver: expected {solver.__name__}(...), got the class")
    if cond is not None:
        instance("cond", cond, dict, "a dict of keyword arguments for the model")
    start, end = ends(schedule, start, end)
    if hasattr(solver, "sample"):
        return solver.sample(model, x, schedule, prediction, (start, end), seeds, cond or {})
    f = velocity(model, schedule, prediction, (start, end), x.device, **(cond or {}))
    shape = x.shape

    def flat(u: Tensor, y: Tensor) -> Tensor:
        return f(u, y.reshape(shape)).to(y.dtype).reshape(y.shape)

    solution = solver(flat, x.reshape(len(x), prod(shape[1:])), *span(schedule, (start, end)))
    return solution._replace(x=solution.x.reshape(shape))


def check_state(x) -> None:
    """Raise unless x is a state that these solvers can start from."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64) or x.dim() < 1:
        expected = "a float32 or float64 tensor [batch, ...]"
        raise TypeError(f"x: expected {expected}, got {describe(x)}")
    tensor("x", x)
    require_memory(x=x)


def unfinished(active: Tensor, collapsed: Tensor, at: Tensor, variable: str = "lam") -> bool:
    """Whether any sample is left; the one thing asked of the device in each step."""
    some, bad = torch.stack([active.any(), (active & collapsed).any()]).tolist()
    if bad:
        b = int((active & collapsed).nonzero()[0])
        raise StepSizeError(
            f"the step size of sample {b} collapsed at {variable} = {float(at[b]):g}: the "
            "tolerance is too small for the dtype, or the model's output is not finite"
        )
    return some


def check_tolerances(solver) -> None:
    """Raise unless tolerances and the step limit are positive."""
    for name in ("rtol", "atol"):
        object.__setattr__(solver, name, float(number(name, getattr(solver, name), above=0)))
    whole("max_steps", solver.max_steps, least=1)


# The tableau: stage i starts from y + h sum_j A[i][j] k_j; the last row is the solution of order 5,
# E its difference to the one of order 4.
A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def _dormand_prince(f, t, y, k, h):
    """The state after h [B], the slope there (first stage of the next step) and the error."""
    step, stages = h[:, None].to(y.dtype), [k]
    for row, c in zip(A, C, strict=True):
        reached = y + step * _combine(row, stages)
        stages.append(f(t + c * h, reached))
    return reached, stages[-1], step * _combine(E, stages)


def _combine(weights, tensors):
    return sum(w * v for w, v in zip(weights, tensors, strict=True) if w)


def _rms(values: Tensor) -> Tensor:
    """[B] float64 root mean square of [B, N]."""
    return values.double().square().mean(1).sqrt()
