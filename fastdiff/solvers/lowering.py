"""Stages to rows: readings of the model output folded in, history slots rotated, draws numbered."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import grids
from ..arguments import describe
from ..grids.base import refuse_grid
from ..parameterization import Reading, check_prediction, exact_output, read
from ..row import COLUMN, HISTORY, WIDTH
from ..schedules.base import reals
from .linear import AGES, M, O, U, X
from .path import Path
from .table import LEVEL, StepTable
from .threshold import DynamicThreshold


def lower(solver, schedule, steps, *, prediction, grid, clip, keep=0) -> StepTable:
    """See ``Solver.lower``.

    Args:
        keep: how many of the last remembered items are of use beside the steps: the history has at
            least that many slots, and every item and every anchor is written, read or not.
    """
    check_prediction(prediction, schedule)
    bounds = _bounds(clip)
    with np.errstate(all="ignore"):  # what is not finite is refused, by its place in the table
        times = _times(schedule, steps, grid)
        return _lowered(solver, schedule, times, prediction, bounds, keep)


def _lowered(solver, schedule, times, prediction, bounds, keep) -> StepTable:
    path = Path.along(schedule, times)
    _check_direction(solver, path)
    try:
        entry, stages = solver.entry(path), list(solver.steps(path))
    except (OverflowError, ZeroDivisionError) as error:
        raise ValueError(
            f"schedule: expected noise levels with which {solver!r} can compute, "
            f"got those of {schedule!r} ({error})"
        ) from None
    if not (solver.keeps_anchor or keep):
        stages = _prune(stages)
    # the model runs at all of these but the last
    visited = [entry.at, *(stage.at for stage in stages)]
    told = [(stage.told or stage.at).t for stage in (entry, *stages[:-1])]
    frame = _Frame.at(schedule, prediction, np.array([p.t for p in visited[:-1]]), np.array(told))
    ring, rows = _Ring(stages, keep), [_entry(entry.x)]
    draws = int(rows[0][COLUMN["draw"]])
    for stage, at, reading in zip(stages, visited, frame.readings, strict=False):
        row, draws = _row(stage, at, solver.quantity, reading, bounds, ring, draws)
        rows.append(row)
    rows = np.array([*rows, _blank(live=0)])
    rows[:-2, [COLUMN["in_scale"], COLUMN["t_next"]]] = frame.inputs
    levels = np.zeros((len(rows), len(LEVEL)))
    levels[:, :3] = [(p.t, p.alpha, p.sigma) for p in (path[0], *visited)]
    levels[1:-1, 3:5], levels[1:-1, 5:] = frame.inputs, frame.outputs
    return StepTable(
        rows=rows,
        levels=levels,
        solver=repr(solver),
        schedule=repr(schedule),
        prediction=prediction,
        quantity=solver.quantity,
        order=solver.order,
        exact_on_point_mass=solver.exact_on_point_mass,
        clip=bounds,
    )


class _Frame(NamedTuple):
    """The model's view of the points at which it runs."""

    inputs: np.ndarray  # [N, 2] input scale and model time
    outputs: np.ndarray  # [N, 2] factors of x0 and eps in an exact model's output
    readings: list[Reading]

    @classmethod
    def at(cls, schedule, prediction, t, told):
        readings = np.stack(read(prediction, schedule, t), axis=1).tolist()
        return cls(
            inputs=np.stack([schedule.input_scale(t), schedule.model_time(told)], axis=1),
            outputs=np.stack(exact_output(prediction, schedule, t), axis=1),
            readings=[Reading(*numbers) for numbers in readings],
        )


class _Ring:
    """Puts the n-th remembered item into slot n mod depth, unless nobody reads it."""

    def __init__(self, stages, keep):
        self.read, self.depth, self.count, self.keep = set(), keep, 0, keep
        count = 0
        for k, stage in enumerate(stages):
            for name in {name for lin in _outputs(stage) for name in lin.terms if name in AGES}:
                if AGES[name] > min(count, HISTORY):
                    raise ValueError(
                        f"stage {k} reads H({AGES[name]}), but only {count} items were remembered"
                    )
                self.read.add(count - AGES[name])
                self.depth = max(self.depth, AGES[name])
            count += stage.remember is not None

    def column(self, age):
        return f"h{(self.count - age) % self.depth}"

    def push(self):
        """The slot for the next item, -1 if it is never read."""
        slot = self.count % self.depth if self.keep or self.count in self.read else -1
        self.count += 1
        return slot


def _row(stage, at, quantity, reading, bounds, ring, draws):
    """One packed row, and the number of draws after it."""
    row = _blank(live=1)

    def put(prefix, lin):
        for name, value in _fold(lin, at, quantity, reading, bounds is not None).terms.items():
            name = ring.column(AGES[name]) if name in AGES else name
            row[COLUMN[f"{prefix}_{name}"]] = value

    put("c", stage.x)
    if stage.s is not None:
        put("d", stage.s)
    if stage.remember is not None:
        slot = row[COLUMN["slot"]] = ring.push()
        if slot >= 0:
            put("e", stage.remember)
    names = [COLUMN[name] for name in ("clip_lo", "clip_hi", "dynamic")]
    row[names] = (-np.inf, np.inf, 0) if bounds is None else bounds
    if row[COLUMN["c_z"]] or row[COLUMN["d_z"]]:
        row[[COLUMN["g_0"], COLUMN["g_1"]]] = stage.gain
    if stage.known is not None:
        row[[COLUMN["k_known"], COLUMN["k_z"]]] = stage.known
    if bounds is not None and (row[COLUMN["c_m"]] or row[COLUMN["d_m"]] or row[COLUMN["e_m"]]):
        row[COLUMN["p_x"]], row[COLUMN["p_o"]] = reading.x0_x, reading.x0_out
    fresh = bool(row[COLUMN["c_z"]] or row[COLUMN["d_z"]] or row[COLUMN["k_z"]])
    again = bool(row[COLUMN["c_zp"]] or row[COLUMN["d_zp"]])
    row[COLUMN["draw"]] = draws + (fresh or again)
    return row, draws + fresh


def _fold(lin, at, quantity, reading, clipped):
    """M, X0 and EPS in terms of what the row has: x, the raw output o, and, clipped, m = x0."""
    eps = reading.eps_x * X + reading.eps_out * O
    x0 = M if clipped else reading.x0_x * X + reading.x0_out * O
    lin = lin.substitute("eps", eps)
    lin = lin.substitute("eps_u", reading.eps_x * X + reading.eps_out * U)
    if quantity == "x0":
        m = x0
    else:
        m = (X - at.alpha * M) / at.sigma if clipped else eps
    return lin.substitute("m", m).substitute("x0", x0)


def _entry(x):
    row = _blank(live=1)
    row[COLUMN["c_x"]], row[COLUMN["c_z"]] = x["x"], x["z"]
    row[COLUMN["draw"]] = x["z"] != 0
    row[COLUMN["clip_lo"]], row[COLUMN["clip_hi"]] = -np.inf, np.inf
    return row


def _blank(live):
    row = np.zeros(WIDTH)
    row[COLUMN["slot"]], row[COLUMN["live"]] = -1, live
    return row


def _outputs(stage):
    return [lin for lin in (stage.x, stage.s, stage.remember) if lin is not None]


def _prune(stages):
    """Drop writes of the anchor that no later stage reads."""
    kept, needed = [], False
    for stage in reversed(stages):
        if stage.s is not None and not needed:
            stage = replace(stage, s=None)
        elif stage.s is not None:
            needed = False
        needed = needed or any(lin["s"] for lin in _outputs(stage))
        kept.append(stage)
    return kept[::-1]


def _check_direction(solver, path):
    """Towards noise only equations without noise of their own can be walked."""
    if path.increasing and solver.stochastic:
        raise ValueError(f"grid: times must decrease for the stochastic {solver!r}")
    if path[0].is_clean and not solver.starts_clean:
        raise ValueError(f'grid: must start at sigma > 0 (final="min") for {solver!r}')


def _times(schedule, steps, grid):
    if grid is None:
        grid = grids.default(schedule)
        if steps is None:
            raise ValueError(
                "steps: expected a positive integer, or a grid that is an array of times, "
                "got neither"
            )
    if isinstance(grid, (type, str)):
        refuse_grid("grid", grid)
    if steps is None and isinstance(grid, grids.Explicit):
        steps = len(grid.points) - 1
    if callable(grid):
        increasing = getattr(grid, "increasing", False)
        return grids.check_times("grid", schedule, grid(schedule, steps), increasing)
    times = grids.check_times("grid", schedule, grid)
    if steps is not None and steps != len(times) - 1:
        raise ValueError(
            f"steps must be {len(times) - 1} (or None) for a grid of {len(times)} times, "
            f"got {steps!r}"
        )
    return times


def _bounds(clip):
    """None or (lo, hi, quantile), the last one 0 for static bounds."""
    if clip is None:
        return None
    if isinstance(clip, DynamicThreshold):
        return clip.bounds
    try:
        given = reals("clip", clip)
        low, high = (-given[()], given[()]) if given.ndim == 0 else given.tolist()
        low, high = float(low), float(high)
    except (TypeError, ValueError):
        expected = "clip must be None, a number or a pair (lo, hi)"
        raise TypeError(f"{expected}, got {describe(clip)}") from None
    if not low < high:
        raise ValueError(f"clip must be a number > 0 or a pair with lo < hi, got {clip!r}")
    return low, high, 0.0
