"""What a scheduler does once its timesteps are set, in fastdiff's words, and the rows of that.

A plan is the arguments of ``Solver.lower``: this is the only mapping from the configuration of a
scheduler to a solver. Noise levels are read off the scheduler (they are float32 numbers), not
computed again, so that every spacing and every family of sigmas is covered. Where a scheduler is
the published method, the solver is the one of ``fastdiff.solvers``; where it is not, the difference
is a small solver of ``quirks.py``.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from ....grids import Reversed
from ....parameterization import read
from ....row import HISTORY
from ....schedules import RectifiedFlow, Schedule, VarianceExploding, VPCosine
from ....solvers import DynamicThreshold, Solver, StepTable
from ....tables.lin import Lin
from ....tables.lowering import lower
from ....tables.rows import END, Row
from .beside import beside

#: Schedules that have every noise level of their kind: a level is a time of one of them.
VP, FLOW = VPCosine(), RectifiedFlow()
VE = VarianceExploding(VP)

NAMES = {"epsilon": "eps", "sample": "x0", "v_prediction": "v", "flow_prediction": "flow"}

#: By how much a level that is repeated is put below itself.
APART = 1e-13


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


#: What planning raises where there are no rows: options, levels or timesteps that it cannot take.
NO_ROWS = (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class Plan:
    """One row for each call of the scheduler's ``step``.

    Attributes:
        solver, schedule, prediction, clip: as ``Solver.lower`` takes them.
        walks: times of the schedule. One walk for a method that looks back; others have several
            where a step does not start where the one before it ended.
        draws: for each row, how often the scheduler draws noise, of which the last is used; () for
            never. Where it does not, the row adds none.
        second: what the step returns besides the sample: "x0"; "churned", x0 of a state that
            ``Euler(late=True)`` has raised; "anchor", what the rows save; or factors that turn the
            row's mean into it.
        turned: the model's output has the other sign.
        silent: rows whose noise is drawn, but not added.
        kept_outside: the one thing that rows remember is the second result of the row before, which
            the caller keeps and gives back.
        keep: how many outputs the scheduler remembers for its next step, used there or not.
        channels: how many of the output's channels, from the first on, it takes; None for all.
    """

    solver: Solver
    schedule: Schedule
    prediction: str
    walks: tuple[tuple[float, ...], ...]
    clip: float | DynamicThreshold | None = None
    draws: tuple[int, ...] = ()
    second: str | tuple[float, ...] | None = None
    turned: bool = False
    silent: tuple[int, ...] = ()
    kept_outside: bool = False
    keep: int = 0
    channels: int | None = None

    def tables(self) -> list[StepTable]:
        """One table for each walk."""
        return [
            lower(
                self.solver,
                self.schedule,
                len(walk) - 1,
                prediction=self.prediction,
                grid=Reversed(walk[::-1]) if walk[-1] > walk[0] else walk,
                clip=self.clip,
                keep=self.keep,
            )
            for walk in self.walks
        ]


@dataclass(frozen=True, eq=False)
class Rows:
    """Packed rows, and what a kernel needs to execute them.

    Attributes:
        rows: N of them, by name.
        slots: of the history.
        uses_saved, multistep, dynamic, gain, known: whether the anchor is in use, rows depend on
            the ones before, x0 is clipped to quantiles, the noise is scaled by a learned variance,
            known data are blended in.
        second: where the row leaves the second result: "saved", a slot, or None.
        draws: [N] how often the scheduler draws noise.
        kept_outside, channels: see ``Plan``.
        predicts_quantity, predicts_x0: whether the model predicts what the solver works in; whether
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
    kept_outside: bool
    channels: int | None
    predicts_quantity: bool
    predicts_x0: bool
    packed: dict = field(default_factory=dict, repr=False)

    def on(self, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, ...]:
        """(rows, weights, second_weights) as a kernel reads them beside (output, sample), shared by
        all who do."""
        key = dtype, device
        if key not in self.packed:
            made = [*map(beside, self.rows), (END, (1.0, 0.0), (1.0, 0.0))]
            rows, first, second = zip(*made, strict=True)
            numbers = [row.pack() for row in rows], [[w] for w in first], [[w] for w in second]
            tables = (torch.tensor(n, dtype=dtype) for n in numbers)
            self.packed[key] = tuple(table.to(device, non_blocking=True) for table in tables)
        return self.packed[key]

    def __deepcopy__(self, memo):
        return self  # never written


def name_of(config) -> str:
    """fastdiff's name of what the model predicts."""
    if config.prediction_type not in NAMES:
        raise Unsupported(f"prediction_type {config.prediction_type!r}")
    return NAMES[config.prediction_type]


def threshold(config) -> DynamicThreshold | None:
    if not config.thresholding:
        return None
    return DynamicThreshold(config.dynamic_thresholding_ratio, config.sample_max_value)


def times_of_alpha2(alpha2) -> list[float]:
    """Times of ``VP`` with alpha^2 = alpha2."""
    alpha2 = np.asarray(alpha2, dtype=np.float64)
    return (2 / np.pi * np.arctan2(np.sqrt(1 - alpha2), np.sqrt(alpha2))).tolist()


def times_of_rho(rho) -> list[float]:
    """Times of ``VP`` and ``VE`` with sigma / alpha = rho."""
    return (2 / np.pi * np.arctan2(np.asarray(rho, dtype=np.float64), 1.0)).tolist()


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


def walk(times) -> tuple[tuple[float, ...]]:
    """One walk through all times. A level that is the same as the one before is moved a little: the
    step between them does nothing."""
    sign = 1 if times[-1] > times[0] else -1
    walked = [times[0]]
    for t in times[1:]:
        walked.append(_apart(walked[-1], t, sign))
    return (tuple(walked),)


def pairs(starts, ends) -> tuple[tuple[float, ...], ...]:
    """As few walks as there can be for steps from ``starts`` to ``ends``."""
    sign = 1 if ends[0] > starts[0] else -1
    walks = []
    for t, s in zip(starts, ends, strict=True):
        if not walks or walks[-1][-1] != t:
            walks.append([t])
        walks[-1].append(_apart(t, s, sign))
    return tuple(map(tuple, walks))


def _apart(t, s, sign):
    return t * (1 + sign * APART) if s == t else s


@lru_cache(maxsize=128)
def rows_of(plan: Plan) -> Rows:
    """The rows of a plan.

    Raises:
        ValueError: the solver refuses the levels, the prediction or the options.
    """
    tables = plan.tables()
    rows = [Row.unpack(packed) for table in tables for packed in table.rows[1:-1].tolist()]
    draws = plan.draws or (False,) * len(rows)
    for k, row in enumerate(rows):
        if not draws[k] or k in plan.silent:
            x, s = (Lin({**lin.terms, "z": 0.0}) for lin in (row.x, row.s))
            rows[k] = row._replace(x=x, s=s)
    saved = any(row.s.terms for row in rows) or any(table.uses_saved for table in tables)
    rows, second = _with_second(rows, plan, tables, saved)
    drawn = 0
    for k, row in enumerate(rows):
        if plan.turned:
            row = Row(*map(_turned, row[:4]), *row[4:])
        draw = row.draw
        if len(tables) > 1:
            drawn += row.draws
            draw = float(drawn * row.draws)
        rows[k] = row._replace(in_scale=0.0, t_next=0.0, draw=draw)  # the pipeline makes the input
    slots = max(table.history for table in tables)
    if isinstance(second, int):
        slots = max(slots, second + 1)
    return Rows(
        rows=tuple(rows),
        slots=slots,
        uses_saved=saved or second == "saved",
        multistep=saved or (slots > 0 and not plan.kept_outside),
        dynamic=any(table.dynamic for table in tables),
        gain=any(table.uses_gain for table in tables),
        known=any(table.uses_known for table in tables),
        second=second,
        draws=draws,
        kept_outside=plan.kept_outside,
        channels=plan.channels,
        predicts_quantity=plan.prediction == tables[0].prediction_target,
        predicts_x0=plan.prediction == "x0",
    )


def _turned(lin):
    """For a model whose output has the other sign."""
    return Lin({**lin.terms, "o": -lin["o"]})


def _with_second(rows, plan, tables, saved):
    """The rows that leave the second result in the anchor, or in the history if that is in use,
    ``saved``; and where it is."""
    if plan.second in (None, "anchor"):
        return rows, plan.second and "saved"
    free = not (plan.kept_outside or saved)
    slot = 0 if plan.kept_outside else max(table.history for table in tables)
    if not free and slot not in (0, *range(1, HISTORY)):
        raise Unsupported("no place for a second result")
    readings, results = _second(rows, plan, tables)
    if free:
        made = [
            row._replace(s=Lin({**row.s.terms, **result}), reading=reading)
            for row, reading, result in zip(rows, readings, results, strict=True)
        ]
        return made, "saved"
    made = [
        row._replace(
            remember=Lin({name: result.get(name, 0.0) for name in "xmo"}),
            reading=reading,
            slot=float(slot),
        )
        for row, reading, result in zip(rows, readings, results, strict=True)
    ]
    return made, slot


def _second(rows, plan, tables):
    """The readings of all rows, and the factors of x, m, o, z in their second results."""
    readings = [row.reading for row in rows]
    results = [{name: row.x[name] for name in "xmoz"} for row in rows]
    if plan.second == "churned":  # x' = x0 + sigma' eps, in the same operands
        if plan.schedule is not VE or plan.prediction != "eps":
            raise Unsupported("churn with a model that does not predict eps")
        sigmas = [sigma for table in tables for sigma in table.sigma[2:].tolist()]
        results = [
            {**result, "o": result["o"] - sigma}
            for result, sigma in zip(results, sigmas, strict=True)
        ]
    elif isinstance(plan.second, tuple):
        results = [
            {**{name: value * factor for name, value in result.items()}, "z": 0.0}
            for result, factor in zip(results, plan.second, strict=True)
        ]
    else:
        at = np.concatenate([table.t[1:-1] for table in tables])
        reading = read(plan.prediction, plan.schedule, at)
        of_x, of_out = ((part + 0 * at).tolist() for part in (reading.x0_x, reading.x0_out))
        results = [{"x": x, "o": o} for x, o in zip(of_x, of_out, strict=True)]
        if plan.clip is not None:
            readings, results = list(map(Lin, results)), [{"m": 1.0}] * len(rows)
    return readings, results
