"""What a loss needs of a schedule: a few numbers at the time of each sample.

A batch has few times, so what these cost is calls, not arithmetic. On the CPU numpy makes them, in
float64 and in a fraction of the time of as many tensor operations; those of a discrete schedule's
own timesteps are made once and looked up.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..arguments import describe, tensor
from ..parameterization import check_prediction, output_at
from ..processes import Process
from ..schedules import Schedule
from ..schedules.base import check_schedule
from ..typing import Numbers, Prediction

_IN_NUMPY = {torch.float32: np.float32, torch.float16: np.float16}


class Levels(NamedTuple):
    """The noise levels at some times, which most functions of them have in common."""

    schedule: Schedule
    t: Numbers
    alpha: Numbers
    sigma: Numbers

    @classmethod
    def of(cls, schedule: Schedule, t: Numbers) -> Levels:
        """Those of a schedule at times ``t``."""
        alpha, sigma = schedule.marginal(t)
        return cls(schedule, t, alpha, sigma)

    def target(self, prediction: Prediction) -> tuple[Numbers, Numbers]:
        """(a, b) of the exact output a x0 + b eps of a network."""
        return output_at(prediction, self.schedule, self.t, self.alpha, self.sigma)

    def x0_factor(self, prediction: Prediction) -> Numbers:
        """What turns a squared error of the prediction into one of x0: with x_t fixed,
        eps - eps_hat = -(alpha / sigma)(x0 - x0_hat), so an output a x0 + b eps is off by
        (a - b alpha / sigma)(x0 - x0_hat)."""
        a, b = self.target(prediction)
        return (self.sigma / (a * self.sigma - b * self.alpha)) ** 2

    @property
    def snr(self) -> Numbers:
        """alpha^2 / sigma^2."""
        return (self.alpha / self.sigma) ** 2

    @property
    def log_snr_rate(self) -> Numbers:
        """-d log SNR / dt = gamma'(t) = g^2 / sigma^2 >= 0."""
        return Process(self.schedule).diffusion2(self.t) / self.sigma**2

    def in_model(self) -> tuple[Numbers, Numbers]:
        """(alpha, sigma) of the network's input c x_t: times the schedule's c."""
        if type(self.schedule).input_scale is Schedule.input_scale:  # one
            return self.alpha, self.sigma
        c = self.schedule.input_scale(self.t)
        return c * self.alpha, c * self.sigma


class LevelWeight:
    """A weight of the denoising loss that needs the levels alone; a subclass defines ``_on``."""

    def __call__(self, schedule: Schedule, t: Tensor) -> Tensor:
        check_schedule(schedule)
        return self._on(Levels.of(schedule, t))

    def _on(self, levels: Levels) -> Numbers:
        """The weight on ||x0 - x0_hat||^2 at these levels."""
        raise NotImplementedError


def levels(schedule: Schedule, t: Tensor, prediction: Prediction) -> Tensor:
    """[B, 4] columns (alpha, sigma, a, b): x_t = alpha x0 + sigma eps, target = a x0 + b eps.

    Args:
        schedule: the noise schedule.
        t: times, [B].
        prediction: what the network predicts, see ``fastdiff.parameterization``.
    """
    check_times(t)
    return at_times(
        schedule, t, prediction, "levels", lambda at: (at.alpha, at.sigma, *at.target(prediction))
    )


def check_times(t: Tensor) -> None:
    """Raise unless t is a tensor [B] of times."""
    tensor("t", t, floating=False)
    if t.dim() != 1 or (t.is_floating_point() and t.element_size() == 1):
        raise ValueError(f"t: expected a tensor [B] of times, got {describe(t)}")


class _Memory:
    """What is known of a schedule, forgotten with it.

    Attributes:
        checked: the predictions that have a meaning on it.
        tables: the numbers at its timesteps.
    """

    def __init__(self) -> None:
        self.checked: set[str] = set()
        self.tables: dict[Hashable, Tensor] = {}


_memories: dict[int, _Memory] = {}  # by identity: equality of two tables of betas takes longer


def at_times(
    schedule: Schedule,
    t: Tensor,
    prediction: Prediction,
    kind: Hashable,
    columns: Callable[[Levels], Sequence[Numbers]],
) -> Tensor:
    """[B, C] the numbers ``columns(levels)``, of t's dtype.

    Args:
        schedule: what they are of.
        t: times, [B].
        prediction: what the network predicts, which is checked once for each schedule.
        kind: what they are called among those of the schedule and the prediction.
        columns: C arrays like t, or tensors for tensors, or numbers.
    """
    if is_compiling():
        check_prediction(prediction, schedule)
        return _stacked(schedule, t, columns)
    memory = _memories.get(id(schedule))
    if memory is None or not isinstance(prediction, str) or prediction not in memory.checked:
        check_prediction(prediction, schedule)
        if memory is None:
            memory = _memories[id(schedule)] = _Memory()
            weakref.finalize(schedule, _memories.pop, id(schedule)).atexit = False
        memory.checked.add(prediction)
    if _is_traced(schedule, t):
        return _stacked(schedule, t, columns)
    whole = not t.is_floating_point()
    dtype, device = torch.get_default_dtype() if whole else t.dtype, t.device
    key = prediction, kind, dtype, device
    if device.type != "cpu":
        if schedule.T is None or not whole:
            return _stacked(schedule, t, columns)
        table = memory.tables.get(key)
        if table is None:
            table = memory.tables[key] = _table(schedule, columns, dtype, device)
        return table[t.long() + 1]
    times = (t.float() if t.dtype is torch.bfloat16 else t).numpy(force=True)
    table = memory.tables.get(key)
    if table is None and schedule.T is not None:
        table = memory.tables[key] = _table(schedule, columns, dtype, device)
    if table is not None:
        index = times.astype(np.int64) + 1
        if (whole or (index == times + 1).all()) and index.min(initial=0) >= 0:
            if index.max(initial=0) < len(table):
                return table[torch.from_numpy(index)]
    return _filled(schedule, times, columns, dtype)


def _is_traced(schedule: Schedule, t: Tensor) -> bool:
    """Whether the numbers may have a gradient, or their operations are recorded."""
    if t.requires_grad or torch._C._are_functorch_transforms_active():
        return True
    for value in vars(schedule).values():  # a loop: any() of a generator takes three times as long
        if callable(value) or isinstance(value, Tensor):
            return True
    return False


def _stacked(schedule: Schedule, t: Tensor, columns) -> Tensor:
    t = t if t.is_floating_point() else t.to(torch.get_default_dtype())
    values = columns(Levels.of(schedule, t))
    made = [v if isinstance(v, Tensor) else torch.full_like(t, v) for v in values]
    return torch.stack(torch.broadcast_tensors(*made), 1)


def _filled(schedule: Schedule, t: np.ndarray, columns, dtype: torch.dtype) -> Tensor:
    t = np.asarray(t, np.float64)
    with np.errstate(all="ignore"):  # as tensors: inf and NaN are numbers
        values = columns(Levels.of(schedule, t))
        numbers = np.empty((len(t), len(values)), _IN_NUMPY.get(dtype, np.float64))
        for i, column in enumerate(values):
            numbers[:, i] = column
    made = torch.from_numpy(numbers)
    return made if made.dtype == dtype else made.to(dtype)


def _table(schedule: Schedule, columns, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The rows of t = -1, 0, ..., T - 1."""
    assert schedule.T is not None
    return _filled(schedule, np.arange(-1.0, schedule.T), columns, dtype).to(device)
