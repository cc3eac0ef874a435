"""Stages to rows: readings of the model output folded in, history slots rotated, draws numbered."""

from dataclasses import replace

import numpy as np

from .. import grids
from ..arguments import describe, instance
from ..grids.base import refuse_grid
from ..parameterization import check_name, check_prediction
from ..row import HISTORY
from ..schedules.base import reals
from ..typing import Prediction
from .kept import kept
from .lin import AGES, NOTHING, Lin, M, U, X
from .path import Path
from .rows import END, Row
from .table import LEVEL, StepTable
from .threshold import DynamicThreshold
from .view import View


def lower(solver, schedule, steps, *, prediction, grid, clip, keep=0) -> StepTable:
    """See ``Solver.lower``.

    Args:
        keep: how many of the last remembered items are of use beside the steps: the history has at
            least that many slots, and every item and every anchor is written, read or not.
    """
    return kept(_lower, solver, schedule, steps, prediction, grid, clip, keep)


def lower_path(
    solver,
    path: Path,
    *,
    prediction: Prediction = "eps",
    clip=None,
    model_times=None,
    input_scales=None,
    keep: int = 0,
) -> StepTable:
    """The table of a solver along a path, such as one of levels alone (``Path.of``).

    Args:
        solver: a ``Solver``.
        path: the levels.
        prediction, clip: as ``Solver.lower`` takes them. "flow" on levels alone is the velocity
            eps - x0 of a rectified flow.
        model_times: [nfe] real numbers, what the model is conditioned on at each evaluation; None:
            what the schedule says, or, on levels alone, the times of the path.
        input_scales: [nfe] real numbers, by which the state is multiplied for the model, or a
            function of alpha and sigma, [nfe] both, that returns them; None: what the schedule
            says, or 1.
        keep: how many of the last remembered items are of use beside the steps, see ``lower``.

    Raises:
        TypeError, ValueError: an argument is not as described, or the rows fail the table's own
            check.
    """
    instance("path", path, Path, "a path such as Path.of(alpha, sigma)")
    if path.schedule is None:
        check_name(prediction)
    else:
        check_prediction(prediction, path.schedule)
    with np.errstate(all="ignore"):
        return _lowered(
            solver, path, prediction, _bounds(clip), keep, View(model_times, input_scales)
        )


def _lower(solver, schedule, steps, prediction, grid, clip, keep) -> StepTable:
    check_prediction(prediction, schedule)
    bounds = _bounds(clip)
    with np.errstate(all="ignore"):  # what is not finite is refused, by its place in the table
        path = Path.along(schedule, _times(schedule, steps, grid))
        return _lowered(solver, path, prediction, bounds, keep, View())


def _lowered(solver, path, prediction, bounds, keep, view) -> StepTable:
    _check_direction(solver, path)
    source = repr(path.schedule) if path.schedule is not None else "given levels"
    try:
        entry, stages = solver.entry(path), list(solver.steps(path))
    except (OverflowError, ZeroDivisionError) as error:
        raise ValueError(
            f"{'path' if path.schedule is None else 'schedule'}: expected noise levels with which "
            f"{solver!r} can compute, got those of {source} ({error})"
        ) from None
    if not (solver.always_save_state or keep):
        stages = _prune(stages)
    # the model runs at all of these but the last
    visited, conditioning = [entry.at], [entry.conditioning or entry.at]
    for stage in stages:
        visited.append(stage.at)
        conditioning.append(stage.conditioning or stage.at)
    inputs, outputs, readings = view.at(path, prediction, visited[:-1], conditioning[:-1])
    ring, rows = _Ring(stages, keep), [_entry(entry.x, inputs[0])]
    ring.draws = int(rows[0].draw)
    nexts = [*inputs[1:], (0.0, 0.0)]
    for stage, at, reading, given in zip(stages, visited, readings, nexts, strict=False):
        row = _row(stage, at, solver.prediction_target, reading, bounds, ring, given)
        rows.append(row)
    rows.append(END)
    levels = np.zeros((len(rows), len(LEVEL)))
    levels[:, :3] = [(p.t, p.alpha, p.sigma) for p in (path.points[0], *visited)]
    levels[1:-1, 3:5], levels[1:-1, 5:] = inputs, outputs
    return StepTable(
        rows=Row.pack_all(rows),
        levels=levels,
        solver=repr(solver),
        schedule=source,
        prediction=prediction,
        prediction_target=solver.prediction_target,
        order=solver.order,
        exact_on_point_mass=solver.exact_on_point_mass,
        clip=bounds,
    )


class _Ring:
    """Puts the n-th remembered item into slot n mod depth, unless nobody reads it. It also counts
    the ``draws`` so far."""

    def __init__(self, stages, keep):
        self.read, self.depth, self.count, self.keep = set(), keep, 0, keep
        self.draws = count = 0
        for k, stage in enumerate(stages):
            for lin in (stage.x, stage.s, stage.remember):
                for name in lin.terms if lin is not None else ():
                    if name not in AGES:
                        continue
                    if AGES[name] > min(count, HISTORY):
                        raise ValueError(
                            f"stage {k} reads H({AGES[name]}), but only {count} items were "
                            "remembered"
                        )
                    self.read.add(count - AGES[name])
                    self.depth = max(self.depth, AGES[name])
            count += stage.remember is not None

    def named(self, lin):
        """The combination with the physical slots of now in place of ages."""
        if not self.depth or AGES.keys().isdisjoint(lin.terms):
            return lin
        slots = {}
        for name, value in lin.terms.items():
            age = AGES.get(name)
            slots[name if age is None else f"h{(self.count - age) % self.depth}"] = value
        return Lin(slots)

    def push(self):
        """The slot for the next item, -1 if it is never read."""
        slot = self.count % self.depth if self.keep or self.count in self.read else -1
        self.count += 1
        return slot


def _row(stage, at, prediction_target, reading, bounds, ring, given) -> Row:
    """The row of a stage; ``given`` is the next input scale and time."""
    x0 = _read(reading.x0_x, reading.x0_out)
    frame = at, prediction_target, M if bounds is not None else x0, reading
    x = ring.named(_fold(stage.x, *frame))
    s = ring.named(_fold(stage.s, *frame)) if stage.s is not None else NOTHING
    slot = ring.push() if stage.remember is not None else -1
    remember = _fold(stage.remember, *frame) if slot >= 0 else NOTHING
    known = stage.known or (0.0, 0.0)
    noisy = "z" in x.terms or "z" in s.terms
    previous = "zp" in x.terms or "zp" in s.terms
    draws = ring.draws + bool(noisy or previous or known[1])
    ring.draws += bool(noisy or known[1])
    return Row(
        x,
        s,
        remember,
        x0,
        bounds or UNBOUNDED,
        stage.gain if noisy else (0.0, 0.0),
        known,
        in_scale=given[0],
        t_next=given[1],
        slot=slot,
        draw=draws,
    )


UNBOUNDED = -np.inf, np.inf, 0.0


def _fold(lin, at, prediction_target, x0, reading):
    """M, X0 and EPS in terms of what the row has: x, the raw output o, and, clipped, m = x0."""
    terms = lin.terms
    if "eps" in terms:
        lin = lin.substitute("eps", _read(reading.eps_x, reading.eps_out))
    if "eps_u" in terms:
        lin = lin.substitute("eps_u", reading.eps_x * X + reading.eps_out * U)
    if "m" in terms:
        if prediction_target == "x0":
            m = x0
        elif x0 is M:
            m = (X - at.alpha * M) / at.sigma
        else:
            m = _read(reading.eps_x, reading.eps_out)
        lin = lin.substitute("m", m)
    if "x0" in terms:
        lin = lin.substitute("x0", x0)
    return lin


def _read(of_x, of_output):
    lin = Lin()
    if of_x != 0:
        lin.terms["x"] = of_x
    if of_output != 0:
        lin.terms["o"] = of_output
    return lin


def _entry(x, given) -> Row:
    """The row before the first evaluation, which keeps or noises the initial state."""
    terms = {name: value for name, value in x.terms.items() if name in ("x", "z")}
    return Row(Lin(terms), in_scale=given[0], t_next=given[1], draw=float("z" in terms))


def _prune(stages):
    """Drop writes of the anchor that no later stage reads."""
    kept, needed = [], False
    for stage in reversed(stages):
        if stage.s is not None and not needed:
            stage = replace(stage, s=None)
        elif stage.s is not None:
            needed = False
        for lin in (stage.x, stage.s, stage.remember):
            needed = needed or (lin is not None and "s" in lin.terms)
        kept.append(stage)
    return kept[::-1]


def _check_direction(solver, path):
    """Towards noise only equations without noise of their own can be walked."""
    if path.increasing and solver.stochastic:
        raise ValueError(f"grid: times must decrease for the stochastic {solver!r}")
    if not solver.starts_clean and path.points[0].is_clean:
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
    if isinstance(grid, grids.base.Grid):
        return grid(schedule, steps)  # which it has checked
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
