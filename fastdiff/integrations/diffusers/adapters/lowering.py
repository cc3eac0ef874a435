"""What a scheduler does once its timesteps are set, in fastdiff's terms, and the rows of that.

An adapter is the only mapping from the configuration of a scheduler to a solver. Noise levels are
read off the scheduler (they are float32 numbers), not computed again, so that every spacing and
every family of sigmas is covered. Where a scheduler is the published method, the solver is the one
of ``fastdiff.solvers``; where it is not, the difference is a small solver of ``deviations.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ....schedules import Schedule
from ....solvers import DynamicThreshold, Solver
from ....tables.lin import Lin
from ....tables.lowering import lower_path
from ....tables.path import Path
from ....tables.rows import END, Row
from ....typing import Prediction

NAMES: dict[str, Prediction] = {
    "epsilon": "eps",
    "sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


class Unsupported(ValueError):
    """No row does what a scheduler or a call asks for: the stock step has to, and nothing has
    happened yet.

    Args:
        kind: why, a format string; reasons that differ in their details alone are of one kind.
        details: what is put into it.
    """

    def __init__(self, kind: str, *details):
        super().__init__(kind, *details)
        self.kind, self.details = kind, details

    def __str__(self):
        return self.kind.format(*self.details) if self.details else self.kind


#: What adapters and lowering raise for options, levels or timesteps of which there are no rows.
NO_ROWS = (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class Sampler:
    """The steps of a scheduler: one row for each call of ``step``.

    Attributes:
        solver, prediction, clip, input_scales: as ``tables.lower_path`` takes them. A solver may
            say with an attribute ``second`` where its rows leave the step's other result: "saved"
            is the anchor, a number a slot of the history.
        paths: the noise levels. One path for a multistep method; others have several where a step
            does not start where the one before it ended.
        draws: for each row, how often the scheduler draws noise, of which the last is used; () for
            never. Where it does not draw, the row adds no noise.
        silent: rows whose noise is drawn, but not added.
        negated: the model's output has the other sign.
        caller_remembers: the one thing that rows remember is the second result of the row before,
            which the caller keeps and gives back.
        keep: how many outputs the scheduler remembers for its next step, used there or not.
        channels: how many of the output's channels, from the first on, it takes; None for all.
        timesteps: of the rows, where they are not those of the scheduler.
    """

    solver: Solver
    paths: tuple[Path, ...]
    prediction: Prediction = "eps"
    clip: float | DynamicThreshold | None = None
    input_scales: Callable | None = None
    draws: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    negated: bool = False
    caller_remembers: bool = False
    keep: int = 0
    channels: int | None = None
    timesteps: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows, and what a kernel needs to execute them.

    Attributes:
        rows: N of them, by name.
        slots: of the history.
        uses_saved, multistep, dynamic, gain, known: whether the anchor is in use, rows depend on
            the ones before, x0 is clipped to quantiles, the noise is scaled by a learned variance,
            known data are blended in.
        second: where the row leaves the second result: "saved", a slot, or None.
        draws: [N] how often the scheduler draws noise.
        channels: see ``Sampler``.
        predicts_target, predicts_x0: whether the model predicts what the solver works in; whether
            it predicts x0.
    """

    rows: tuple[Row, ...]
    slots: int
    uses_saved: bool
    multistep: bool
    dynamic: bool
    gain: bool
    known: bool
    second: str | int | None
    draws: tuple[int, ...]
    channels: int | None
    predicts_target: bool
    predicts_x0: bool
    packed: dict = field(default_factory=dict, repr=False)

    def on(self, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """The packed rows for a kernel, shared by all who execute them."""
        key = dtype, device
        if key not in self.packed:
            rows = torch.from_numpy(Row.pack_all([*self.rows, END])).to(dtype)
            self.packed[key] = rows.to(device, non_blocking=True)
        return self.packed[key]

    def __deepcopy__(self, memo):
        return self  # never written


@lru_cache(maxsize=128)
def rows_of(sampler: Sampler) -> Rows:
    """The rows of a sampler.

    Raises:
        ValueError: the solver refuses the levels, the prediction or the options.
    """
    solver, prediction, several = sampler.solver, sampler.prediction, len(sampler.paths) > 1
    second = getattr(solver, "second", None)
    returned = 1 if isinstance(second, int) else 0  # slots
    tables = [
        lower_path(
            solver, path, prediction=prediction, clip=sampler.clip,
            input_scales=sampler.input_scales, keep=max(sampler.keep, returned),
        )
        for path in sampler.paths
    ]  # fmt: skip
    rows = Row.unpack_all(np.concatenate([table.rows[1:-1] for table in tables]))
    draws, drawn = sampler.draws or (0,) * len(rows), 0
    saves = reads_saved = False
    for k, row in enumerate(rows):
        if not draws[k] or k in sampler.silent:
            row = row._replace(x=_without_noise(row.x), s=_without_noise(row.s))
        if several:  # they have been numbered in each path
            drawn += row.draws
            row = row._replace(draw=float(drawn * row.draws))
        if sampler.negated:
            signs: dict[str, Any] = {name: _negated(getattr(row, name)) for name in MIXTURES}
            row = row._replace(**signs)
        rows[k] = row._replace(in_scale=0.0, t_next=0.0)  # the pipeline makes the input
        saves, reads_saved = saves or bool(row.s.terms), reads_saved or "s" in row.x.terms
    slots = max([table.history for table in tables])
    remembers = slots > returned and not sampler.caller_remembers
    return Rows(
        rows=tuple(rows),
        slots=slots,
        uses_saved=saves,
        multistep=reads_saved or remembers,
        dynamic=tables[0].dynamic,
        gain=any(table.uses_gain for table in tables),
        known=solver.inpaints,
        second=second,
        draws=draws,
        channels=sampler.channels,
        predicts_target=prediction == solver.prediction_target,
        predicts_x0=prediction == "x0",
    )


MIXTURES = ("x", "s", "remember", "reading")  # of a row


def _without_noise(lin: Lin) -> Lin:
    return Lin({**lin.terms, "z": 0.0}) if "z" in lin.terms else lin


def _negated(lin: Lin) -> Lin:
    """For a model whose output has the other sign."""
    return Lin({**lin.terms, "o": -lin["o"]})


def name_of(config) -> Prediction:
    """fastdiff's name of what the model predicts."""
    if config.prediction_type not in NAMES:
        raise Unsupported(f"prediction_type {config.prediction_type!r}")
    return NAMES[config.prediction_type]


def threshold(config) -> DynamicThreshold | None:
    if not getattr(config, "thresholding", False):
        return None
    return DynamicThreshold(config.dynamic_thresholding_ratio, config.sample_max_value)


def clip_of(config) -> float | DynamicThreshold | None:
    """Thresholding goes before clipping."""
    return threshold(config) or (config.clip_sample_range if config.clip_sample else None)


def sigmas_of(scheduler, begin: int = 0, end: int | None = None) -> np.ndarray:
    """float64 [N + 1 - begin] the sigmas of a scheduler."""
    sigmas = scheduler.sigmas[begin:end].double().numpy()
    if len(sigmas) < 2:
        raise Unsupported("a start at the last of its sigmas")
    return sigmas


def counted_sigmas(scheduler, begin: int) -> np.ndarray:
    """float64 [N + 1 - begin] the sigmas of a scheduler for which the N-th of its timesteps is the
    last, whatever there are of sigmas."""
    return sigmas_of(scheduler, begin, len(scheduler.timesteps) + 1)


def preserving(rho: np.ndarray, times=None) -> tuple[Path]:
    """The variance-preserving levels with sigma / alpha = ``rho``."""
    alpha = 1 / np.hypot(1.0, rho)
    return (Path.of(alpha, rho * alpha, times),)


def exploding(sigmas: np.ndarray) -> tuple[Path]:
    """Levels of x = x0 + sigma eps."""
    return (Path.of(np.ones_like(sigmas), sigmas),)


def flow(sigmas: np.ndarray, times=None) -> tuple[Path]:
    """Levels of x = (1 - sigma) x0 + sigma eps."""
    return (Path.of(1 - sigmas, sigmas, times),)


def along(schedule: Schedule, times) -> tuple[Path]:
    """Levels that are times of a schedule."""
    return (Path.along(schedule, np.asarray(times, dtype=np.float64)),)


def pieces(starts: np.ndarray, ends: np.ndarray, schedule: Schedule | None = None):
    """As few paths as there can be for steps from ``starts`` to ``ends``, [N, 3] both: alpha, sigma
    and the time."""
    of: Any = Path.of
    broken = np.flatnonzero((starts[1:] != ends[:-1]).any(axis=1)) + 1
    return tuple(
        of(*np.append(starts[first:last], ends[last - 1 : last], axis=0).T, schedule)
        for first, last in zip([0, *broken], [*broken, len(starts)], strict=True)
    )
