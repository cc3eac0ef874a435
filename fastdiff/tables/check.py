"""What a table must satisfy, whatever solver wrote it.

The strong part is the point-mass identity, which is to samplers what sum(b) = 1 is to Runge-Kutta
methods: if the data were the one point x0, an exact model would know it from any noisy x, and every
row must carry alpha x0 + sigma eps to alpha' x0 + sigma' eps'. The rows themselves are executed on
coefficient vectors over the basis (x0, n_0, n_1, ...), n_0 the initial noise and n_k draw number k,
so no coefficient can be off on its own. What it cannot see is an error that vanishes if
all model outputs agree on x0, such as two history entries of a difference swapped: that is what the
measured orders are for.
"""

from math import hypot, inf, sqrt

import numpy as np

from ..row import COLUMN, FIELDS, HISTORY, WIDTH
from .rows import END, Row

LEVEL = ("t", "alpha", "sigma", "in_scale", "model_t", "out_x0", "out_eps")

TOLERANCE = 1e-9  # of the level's alpha or sigma, whichever is larger
ROUNDING = 64 * np.finfo(np.float64).eps  # of the products in the row, large where alpha is small

OUTPUT = [
    COLUMN[f"{prefix}_{name}"]
    for prefix, names in (("p", "xo"), ("c", "mou"), ("d", "mou"), ("e", "xmou"))
    for name in names
]
_BOUNDS = [COLUMN["clip_lo"], COLUMN["clip_hi"]]


def check(rows, levels, clip, kind):
    """Raise ValueError unless the rows are well formed and do what they declare.

    Args:
        rows, levels: the arrays of a ``StepTable``.
        clip: None or (lo, hi, quantile).
        kind: "full", "drift" or "none", as in ``Solver.exact_on_point_mass``.
    """
    if rows.ndim != 2 or rows.shape[1] != WIDTH or len(rows) < 3:
        raise ValueError(f"rows must have shape [N + 2, {WIDTH}] with N >= 1, got {rows.shape}")
    if levels.shape != (len(rows), len(LEVEL)):
        raise ValueError(f"levels must have shape [{len(rows)}, {len(LEVEL)}], got {levels.shape}")
    named = Row.unpack_all(rows)
    _check_finite(rows, levels, named, clip)
    _check_frame(rows, levels, named)
    _check_memory(named[:-1])
    drawn = _check_draws(named[:-1])
    # Exact rows without noise never turn round on their way.
    _check_levels(levels, decreasing=kind == "full" and not drawn)
    if kind != "none":
        _check_point_mass(named, levels.tolist(), kind)


_LARGEST = np.finfo(np.float32).max


def _check_finite(rows, levels, named, clip):
    names = ("clip_lo", "clip_hi", "dynamic")
    none = (-inf, inf, 0)
    for k, row in enumerate(named[:-1]):
        expected = none if k == 0 or clip is None else clip
        if row.clip != expected:
            _same(row.clip, expected, f"row {k}", names)
    rest = rows.copy()
    rest[:, _BOUNDS] = 0
    for k, column in np.argwhere(~np.isfinite(rest)):
        raise ValueError(f"row {k}: {FIELDS[column]} must be finite, got {rows[k, column]}")
    for k, column in np.argwhere(np.abs(rest) > _LARGEST):
        raise ValueError(
            f"row {k}: {FIELDS[column]} must be a number in float32, got {rows[k, column]:g}: "
            "expected noise levels less far apart, or a prediction that tells x0 at all of them"
        )
    values = levels.copy()
    values[-1, 0] = 0  # the time of clean data may be -inf
    for k, column in np.argwhere(~np.isfinite(values)):
        raise ValueError(f"level {k}: {LEVEL[column]} must be finite, got {levels[k, column]}")


def _check_levels(levels, decreasing):
    alpha, sigma = levels[:, 1], levels[:, 2]
    for k in np.flatnonzero((alpha < 0) | (sigma < 0) | (alpha + sigma == 0)):
        raise ValueError(
            f"level {k}: alpha and sigma must be >= 0, not both 0, "
            f"got {alpha[k]:g} and {sigma[k]:g}"
        )
    noisier = sigma[-1] * alpha[0] > sigma[0] * alpha[-1]  # a walk from data towards noise
    for k in np.flatnonzero(sigma[:-1] == 0)[2 * (noisier and sigma[0] == 0) :]:
        raise ValueError(f"level {k}: sigma must be > 0 where a model is evaluated, got 0")
    rising = sigma[1:] * alpha[:-1] > sigma[:-1] * alpha[1:] * (1 + TOLERANCE)
    falling = sigma[1:] * alpha[:-1] * (1 + TOLERANCE) < sigma[:-1] * alpha[1:]
    for k in np.flatnonzero(falling if noisier else rising) if decreasing else ():
        relation = "not fall below" if noisier else "not exceed"
        raise ValueError(f"level {k + 1}: sigma / alpha must {relation} that of level {k}")


def _check_frame(rows, levels, named):
    """The rows at both ends, and what the model is given in between."""
    if named[-1] != END:
        _same(rows[-1], END.pack(), "END row", FIELDS)
    for k, row in enumerate(named[:-1]):
        if row.live != 1:
            raise ValueError(f"row {k}: live must be 1, got {row.live:g}")
    for column in np.flatnonzero(rows[0, OUTPUT])[:1]:
        name = FIELDS[OUTPUT[column]]
        raise ValueError(
            f"row 0: {name} must be 0 before the first model evaluation, "
            f"got {rows[0, COLUMN[name]]:g}"
        )
    for k, (row, wanted) in enumerate(zip(named[:-1], levels[1:, 3:5].tolist(), strict=True)):
        if row.in_scale != wanted[0] or row.t_next != wanted[1]:
            _same((row.in_scale, row.t_next), wanted, f"row {k}", ("in_scale", "t_next"))


def _check_memory(named):
    written, anchor = set(), False
    for k, row in enumerate(named):
        if row.slot not in range(-1, HISTORY):
            raise ValueError(
                f"row {k}: slot must be an integer in -1..{HISTORY - 1}, got {row.slot:g}"
            )
        for lin in (row.x, row.s):
            for name in lin.terms:
                if name in SLOTS and name not in written:
                    raise ValueError(
                        f"row {k}: reads history slot {name[1:]} before any row has written it"
                    )
                if name == "s" and not anchor:
                    raise ValueError(f"row {k}: reads the anchor s before any row has saved it")
        if row.slot >= 0:
            written.add(f"h{row.slot:g}")
        anchor = anchor or bool(row.s.terms)


SLOTS = tuple(f"h{k}" for k in range(HISTORY))


def _check_draws(named) -> int:
    """Draws are numbered in order; returns how many there are."""
    drawn = 0
    for k, row in enumerate(named):
        terms = row.x.terms.keys() | row.s.terms.keys()
        fresh = "z" in terms or row.known[1] != 0
        expected = drawn + (fresh or "zp" in terms)
        if row.draw != expected:
            raise ValueError(f"row {k}: draw must be {expected}, got {row.draw:g}")
        drawn += fresh
    return drawn


def _same(have, expected, where, names):
    for name, value, wanted in zip(names, have, expected, strict=True):
        if value != wanted:
            raise ValueError(f"{where}: {name} must be {wanted:g}, got {value:g}")


def _check_point_mass(named, levels, kind):
    """Run the rows on coefficients of (x0, noise) and compare each landing with its level.

    The noise part is a vector over the draws; where nothing is drawn, one number; and one number,
    its length, also where nothing but the state carries noise from row to row, so that every draw
    is independent of what it is added to. The length is kept beside it. Each row starts from its
    exact level, so that rounding errors do not add up;
    those of what was saved, which may be the difference of large numbers, count as ``doubt``.
    """
    draws = int(named[-2].draw)  # numbered in order
    vectors = draws > 0 and any(_remembers(row) for row in named)
    nothing = np.zeros(1 + draws) if vectors else 0.0
    initial = np.eye(1, 1 + draws)[0] if vectors else 1.0
    _, alpha, sigma, *_ = levels[0]
    memory: dict = {"x": (alpha, sigma * initial, sigma)}
    doubt: dict = {}
    for k, row in enumerate(named[:-1]):
        if k > 0:
            data, noise, size = memory["x"]
            _, alpha, sigma, _, _, out_x0, out_eps = levels[k]
            # out_x0 x0 + out_eps eps, where eps = (x - alpha x0) / sigma; in clean data it is any
            if sigma > 0:
                scale = out_eps / sigma
                at_data = data * scale + (out_x0 - out_eps * alpha / sigma)
                o = at_data, noise * scale, size * abs(scale)
            else:
                o = out_x0, out_eps * initial, abs(out_eps)
            memory["o"] = memory["u"] = o  # with one point, every condition has the same answer
            if row.reading.terms:
                memory["m"], rounding = _combine(row.reading, memory, doubt, nothing)
                data, _, size = memory["m"]
                if not (abs(data - 1) <= TOLERANCE + rounding and size <= TOLERANCE + rounding):
                    raise ValueError(
                        f"row {k}: on a point mass p_x x + p_o o must be x0, got {data:.12g} x0 "
                        f"and {size:.12g} of noise"
                    )
        draw = int(row.draw)
        (data, noise, size), rounding = _combine(row.x, memory, doubt, nothing, draw)
        level = levels[k + 1]
        _check_landing(k, data, size if draws else noise, levels, rounding, kind)
        if row.known != (0.0, 0.0):
            _check_known(k, row.known, level)
        changed = {}
        if row.s.terms:
            changed["s"] = _combine(row.s, memory, doubt, nothing, draw)
        if row.slot >= 0:
            changed[f"h{row.slot:g}"] = _combine(row.remember, memory, doubt, nothing)
        for name, (saved, rounding) in changed.items():
            memory[name], doubt[name] = saved, rounding
        # What was found to be on a level goes on without its rounding errors.
        if kind == "full" and size > 0:
            noise, size = noise * (level[2] / size), level[2]
        memory["x"] = level[1], noise, size


def _remembers(row):
    """Whether x' is made of more than x, the model's output there and a fresh draw."""
    return not row.x.terms.keys() <= {"x", "m", "o", "u", "z"}


def _combine(lin, memory, doubt, nothing, draw=0):
    """((x0, noise) coefficients and the length of the latter, rounding) of a combination; ``draw``
    is the number of z. The rounding is what the errors of its terms may have brought."""
    data, noise, rounding = 0.0, nothing, 0.0
    for name, factor in lin.terms.items():
        if name in memory:
            at_data, at_noise, size = memory[name]
            data += factor * at_data
            noise = noise + factor * at_noise
            error = ROUNDING * sqrt(at_data * at_data + size * size) + doubt.get(name, 0.0)
            rounding += abs(factor) * error
    if isinstance(noise, float):
        if "z" in lin.terms:
            noise = hypot(noise, lin.terms["z"])
        return (data, noise, abs(noise)), rounding
    for name, number in (("z", draw), ("zp", draw - 1)):
        if name in lin.terms:
            noise = noise + 0.0 if noise is nothing else noise
            noise[number] += lin.terms[name]
    return (data, noise, sqrt(noise.dot(noise))), rounding


def _check_known(k, known, level):
    """What replaces the state where data are known lies on the same level."""
    _, alpha, sigma, *_ = level
    at_data, at_noise = abs(known[0] - alpha), abs(known[1] - sigma)
    if not (at_data <= TOLERANCE * alpha and at_noise <= TOLERANCE * sigma):
        raise ValueError(
            f"row {k}: (k_known, k_z) must be (alpha, sigma) = ({level[1]:.12g}, {level[2]:.12g}), "
            f"got ({known[0]:.12g}, {known[1]:.12g})"
        )


def _check_landing(k, data, noise, levels, rounding, kind):
    t, alpha, sigma, *_ = levels[k + 1]
    allowed = TOLERANCE * max(alpha, sigma) + rounding
    if abs(data - alpha) <= allowed and (kind != "full" or abs(noise - sigma) <= allowed):
        return
    what, name, wanted, got = "factor of x0", "alpha", alpha, data
    if abs(data - alpha) <= allowed:
        what, name, wanted, got = "noise", "sigma", sigma, noise
    raise ValueError(
        f"row {k}: on a point mass the {what} must be {name} = {wanted:.12g} "
        f"(at t = {t:g}), got {got:.12g}{_cause(np.array(levels[: k + 2]))}"
    )


def _cause(levels):
    """A hint where float64 has too few digits for the steps to the last of ``levels``."""
    _, alpha, sigma, *_ = levels[-HISTORY - 2 :].T
    here = (alpha > 0) & (sigma > 0)
    rho = sigma[here] / alpha[here]
    if not here.any() or rho.max() * np.finfo(np.float64).eps < TOLERANCE * rho.min():
        return ""
    return (
        f"; a few steps from sigma / alpha = {rho.max():.3g} to {rho.min():.3g} leave float64 too "
        "few digits for the differences in the rows: take more steps or a narrower range"
    )
