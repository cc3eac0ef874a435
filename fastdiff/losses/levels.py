"""What a loss needs of a schedule: a few numbers at the time of each sample.

A batch has few times, so what these cost is calls, not arithmetic. On the CPU numpy makes them, in
float64 and in a fraction of the time of as many tensor operations; those of a discrete schedule's
own timesteps are made once and looked up.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..arguments import describe, tensor
from ..parameterization import check_prediction, output_at
from ..schedules import Schedule

_IN_NUMPY = {torch.float32: np.float32, torch.float16: np.float16}


def levels(schedule: Schedule, t: Tensor, prediction: str) -> Tensor:
    """[B, 4] columns (alpha, sigma, a, b): x_t = alpha x0 + sigma eps, target = a x0 + b eps.

    Args:
        schedule: the noise schedule.
        t: times, [B].
        prediction: what the network predicts, see ``fastdiff.parameterization``.
    """
    check_prediction(prediction, schedule)
    check_times(t)
    return at_times(schedule, t, ("levels", prediction), lambda s, t: _columns(s, t, prediction))


def check_times(t) -> None:
    """Raise unless t is a tensor [B] of times."""
    tensor("t", t, floating=False)
    if t.dim() != 1 or (t.is_floating_point() and t.element_size() == 1):
        raise ValueError(f"t: expected a tensor [B] of times, got {describe(t)}")


def _columns(schedule: Schedule, t, prediction: str):
    alpha, sigma = schedule.marginal(t)
    return alpha, sigma, *output_at(prediction, schedule, t, alpha, sigma)


def model_columns(schedule: Schedule, t, prediction: str):
    """The columns of ``levels``, of the network's input c x_t in place of x_t: the schedule's c."""
    alpha, sigma, a, b = _columns(schedule, t, prediction)
    if type(schedule).input_scale is Schedule.input_scale:  # one
        return alpha, sigma, a, b
    c = schedule.input_scale(t)
    return c * alpha, c * sigma, a, b


def at(schedule: Schedule, t):
    """The schedule, which has alpha and sigma of just these times at hand: most of its functions
    ask for them, and so do those of predictions and weights."""
    if is_compiling():  # Inductor already deduplicates these calls
        return schedule
    alpha, sigma = pair = schedule.marginal(t)
    known = object.__new__(type(schedule))
    vars(known).update(
        vars(schedule),
        alpha=lambda s: alpha if s is t else schedule.alpha(s),
        sigma=lambda s: sigma if s is t else schedule.sigma(s),
        marginal=lambda s: pair if s is t else schedule.marginal(s),
    )
    return known


def at_times(schedule: Schedule, t: Tensor, key, columns) -> Tensor:
    """[B, C] the numbers ``columns(schedule, t)``, C arrays or tensors like t, of t's dtype.

    Args:
        schedule: what they are of.
        t: times, [B].
        key: what they are called among those of the schedule, hashable.
        columns: works on numpy arrays and on tensors.
    """
    if _traced(schedule, t):
        return _stacked(schedule, t, columns)
    dtype = t.dtype if t.is_floating_point() else torch.get_default_dtype()
    whole = not t.is_floating_point()
    if t.device.type != "cpu":
        if schedule.T is None or not whole:
            return _stacked(schedule, t, columns)
        return _table(schedule, key, columns, dtype, t.device)[t.long() + 1]
    times = (t.float() if t.dtype is torch.bfloat16 else t).numpy(force=True)
    if schedule.T is not None:
        index = times.astype(np.int64) + 1
        if (whole or (index == times + 1).all()) and index.min(initial=0) >= 0:
            if index.max(initial=0) <= schedule.T:
                return _table(schedule, key, columns, dtype, t.device)[torch.from_numpy(index)]
    return _filled(schedule, times, columns, dtype)


def _traced(schedule: Schedule, t: Tensor) -> bool:
    """Whether the numbers may have a gradient, or their operations are recorded."""
    if t.requires_grad or is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    for value in vars(schedule).values():  # a loop: any() of a generator takes three times as long
        if callable(value) or isinstance(value, Tensor):
            return True
    return False


def _stacked(schedule: Schedule, t: Tensor, columns) -> Tensor:
    t = t if t.is_floating_point() else t.to(torch.get_default_dtype())
    return torch.stack(torch.broadcast_tensors(*columns(schedule, t)), 1)


def _filled(schedule: Schedule, t: np.ndarray, columns, dtype: torch.dtype) -> Tensor:
    t = np.asarray(t, np.float64)
    with np.errstate(all="ignore"):  # as tensors: inf and NaN are numbers
        made = columns(schedule, t)
        numbers = np.empty((len(t), len(made)), _IN_NUMPY.get(dtype, np.float64))
        for i, column in enumerate(made):
            numbers[:, i] = column
    made = torch.from_numpy(numbers)
    return made if made.dtype == dtype else made.to(dtype)


def _table(schedule: Schedule, key, columns, dtype: torch.dtype, device) -> Tensor:
    """The rows of t = -1, 0, ..., T - 1, kept with the schedule."""
    tables = vars(schedule).setdefault("_loss_tables", {})
    cache_key = (key, dtype, device)
    if cache_key not in tables:
        every = np.arange(-1.0, schedule.T)
        tables[cache_key] = _filled(schedule, every, columns, dtype).to(device)
    return tables[cache_key]
