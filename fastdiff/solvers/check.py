"""What a table must satisfy, whatever solver wrote it.

The strong part is the point-mass identity, which is to samplers what sum(b) = 1 is to Runge-Kutta
methods: if the data were the one point x0, an exact model would know it from any noisy x, and every
row must carry alpha x0 + sigma eps to alpha' x0 + sigma' eps'. The rows themselves are executed on
coefficient vectors over the basis (x0, n_0, n_1, ...), n_0 the initial noise and n_k draw number k,
so no coefficient can be off on its own. What it cannot see is an error that vanishes if
all model outputs agree on x0, such as two history entries of a difference swapped: that is what the
measured orders are for.
"""

from typing import NamedTuple

import numpy as np

from ..row import COLUMN, FIELDS, HISTORY, OPERANDS

LEVEL = ("t", "alpha", "sigma", "in_scale", "model_t", "out_x0", "out_eps")

TOLERANCE = 1e-9  # of the level's alpha or sigma, whichever is larger
ROUNDING = 64 * np.finfo(np.float64).eps  # of the products in the row, large where alpha is small

OUTPUT = [
    COLUMN[f"{prefix}_{name}"]
    for prefix, names in (("p", "xo"), ("c", "mou"), ("d", "mou"), ("e", "xmou"))
    for name in names
]
_VECTORS = [name for name in OPERANDS if name not in ("z", "zp")]
_HISTORY = _VECTORS.index("h0")


class Columns(NamedTuple):
    """The columns of one of the two outputs x', s'."""

    vectors: list[int]  # factors of x, s, m, o, u, h_0 .. h_3
    z: int
    zp: int

    @classmethod
    def of(cls, prefix):
        return cls(
            [COLUMN[f"{prefix}_{name}"] for name in _VECTORS],
            COLUMN[f"{prefix}_z"],
            COLUMN[f"{prefix}_zp"],
        )


C, D = Columns.of("c"), Columns.of("d")


def check_structure(rows, levels, clip, kind):
    """Shapes, finiteness, slots, draws, frame, and that nothing is read before it was written.

    Args:
        kind: as in ``check_point_mass``. Exact rows without noise never turn round on their way.
    """
    if rows.ndim != 2 or rows.shape[1] != len(FIELDS) or len(rows) < 3:
        raise ValueError(
            f"rows must have shape [N + 2, {len(FIELDS)}] with N >= 1, got {rows.shape}"
        )
    if levels.shape != (len(rows), len(LEVEL)):
        raise ValueError(f"levels must have shape [{len(rows)}, {len(LEVEL)}], got {levels.shape}")
    _check_finite(rows, levels, clip)
    noisy = rows[:, [C.z, D.z, COLUMN["k_z"]]].any()
    _check_levels(levels, decreasing=kind == "full" and not noisy)
    end = np.zeros(len(FIELDS))
    end[COLUMN["slot"]] = -1
    _same(rows[-1], end, "END row", FIELDS)
    for k in np.flatnonzero(rows[:-1, COLUMN["live"]] != 1):
        raise ValueError(f"row {k}: live must be 1, got {rows[k, COLUMN['live']]:g}")
    for name in (FIELDS[c] for c in OUTPUT if rows[0, c] != 0):
        raise ValueError(
            f"row 0: {name} must be 0 before the first model evaluation, "
            f"got {rows[0, COLUMN[name]]:g}"
        )
    for k in range(len(rows) - 1):
        have = rows[k, [COLUMN["in_scale"], COLUMN["t_next"]]]
        _same(have, levels[k + 1, 3:5], f"row {k}", ("in_scale", "t_next"))
    _check_memory(rows[:-1])
    _check_draws(rows[:-1])


_LARGEST = np.finfo(np.float32).max


def _check_finite(rows, levels, clip):
    names = ("clip_lo", "clip_hi", "dynamic")
    bounds = rows[:-1, [COLUMN[name] for name in names]]
    none = (-np.inf, np.inf, 0)
    for k in range(len(bounds)):
        _same(bounds[k], none if k == 0 or clip is None else clip, f"row {k}", names)
    rest = rows.copy()
    rest[:, [COLUMN["clip_lo"], COLUMN["clip_hi"]]] = 0
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


def _check_memory(rows):
    written, anchor = set(), False
    for k, row in enumerate(rows):
        slot = row[COLUMN["slot"]]
        if slot not in range(-1, HISTORY):
            raise ValueError(f"row {k}: slot must be an integer in -1..{HISTORY - 1}, got {slot:g}")
        for j in range(HISTORY):
            at = _HISTORY + j
            if (row[C.vectors[at]] or row[D.vectors[at]]) and j not in written:
                raise ValueError(f"row {k}: reads history slot {j} before any row has written it")
        if (row[C.vectors[1]] or row[D.vectors[1]]) and not anchor:
            raise ValueError(f"row {k}: reads the anchor s before any row has saved it")
        written |= {int(slot)} - {-1}
        anchor = anchor or bool(row[list(D.vectors) + [D.z, D.zp]].any())


def _check_draws(rows):
    drawn = 0
    for k, row in enumerate(rows):
        fresh = bool(row[C.z] or row[D.z] or row[COLUMN["k_z"]])
        again = bool(row[C.zp] or row[D.zp])
        expected = drawn + (fresh or again)
        if row[COLUMN["draw"]] != expected:
            raise ValueError(f"row {k}: draw must be {expected}, got {row[COLUMN['draw']]:g}")
        drawn += fresh


def _same(have, expected, where, names):
    for name, value, wanted in zip(names, have, expected, strict=True):
        if value != wanted:
            raise ValueError(f"{where}: {name} must be {wanted:g}, got {value:g}")


def check_point_mass(rows, levels, kind):
    """Run the rows on coefficient vectors and compare each landing with its level.

    Each row starts from its exact level, so that rounding errors do not add up; those of what was
    saved, which may be the difference of large numbers, count as ``doubt``.

    Args:
        kind: "full" or "drift", as in ``Solver.exact_on_point_mass``.
    """
    draws = int(rows[:, COLUMN["draw"]].max())
    basis = np.zeros((_HISTORY + HISTORY, 2 + draws))  # x, s, m, o, u, h_0 .. h_3
    basis[0, :2] = levels[0, 1:3]
    doubt = np.zeros(len(basis))
    for k, row in enumerate(rows[:-1]):
        draw = int(row[COLUMN["draw"]])
        memory = basis[:, : 2 + draw]  # later draws have not happened
        x, m, o, u, history = memory[0], memory[2], memory[3], memory[4], memory[_HISTORY:]
        if k > 0:
            _, alpha, sigma, _, _, out_x0, out_eps = levels[k]
            # out_x0 x0 + out_eps eps, where eps = (x - alpha x0) / sigma; in clean data it is any
            if sigma > 0:
                np.multiply(x, out_eps / sigma, out=o)
                o[0] += out_x0 - out_eps * alpha / sigma
            else:
                o[:2] = out_x0, out_eps
            u[:] = o  # with one point, every condition has the same answer
            m[:] = row[COLUMN["p_x"]] * x + row[COLUMN["p_o"]] * o
        landed = _combine(row, C, memory, draw)
        rounding = ROUNDING * np.sqrt(np.einsum("ij,ij->i", memory, memory)) + doubt
        _check_landing(k, landed, levels, np.abs(row[C.vectors]) @ rounding, kind, draws)
        _check_known(k, row, levels[k + 1])
        saved = (
            _combine(row, D, memory, draw)
            if row[D.vectors].any() or row[D.z] or row[D.zp]
            else None
        )
        slot = int(row[COLUMN["slot"]])
        if slot >= 0:
            e_x, e_m, e_o, e_u = row[[COLUMN[f"e_{name}"] for name in "xmou"]]
            history[slot] = e_x * x + e_m * m + e_o * o + e_u * u
            doubt[_HISTORY + slot] = np.abs([e_x, e_m, e_o, e_u]) @ rounding[[0, 2, 3, 4]]
        x[:] = _exact(landed, levels[k + 1], kind)
        if saved is not None:
            memory[1] = saved
            doubt[1] = np.abs(row[D.vectors]) @ rounding


def _exact(landed, level, kind):
    """What was found to be on a level, without its rounding errors."""
    noise = np.linalg.norm(landed[1:])
    if kind == "full" and noise > 0:
        landed[1:] *= level[2] / noise
    landed[0] = level[1]
    return landed


def _combine(row, columns, memory, draw):
    value = row[columns.vectors] @ memory
    value[1 + draw] += row[columns.z]
    value[draw] += row[columns.zp] if row[columns.zp] else 0.0
    return value


def _check_known(k, row, level):
    """What replaces the state where data are known lies on the same level."""
    known = row[[COLUMN["k_known"], COLUMN["k_z"]]]
    if known.any() and not np.allclose(known, level[1:3], rtol=TOLERANCE, atol=0):
        raise ValueError(
            f"row {k}: (k_known, k_z) must be (alpha, sigma) = ({level[1]:.12g}, {level[2]:.12g}), "
            f"got ({known[0]:.12g}, {known[1]:.12g})"
        )


def _check_landing(k, landed, levels, rounding, kind, draws):
    t, alpha, sigma, *_ = levels[k + 1]
    allowed = TOLERANCE * max(alpha, sigma) + rounding
    noise = landed[1] if draws == 0 else np.linalg.norm(landed[1:])
    wrong = [("factor of x0", "alpha", alpha, landed[0])]
    wrong += [("noise", "sigma", sigma, noise)] * (kind == "full")
    for what, name, wanted, got in wrong:
        if not abs(got - wanted) <= allowed:
            raise ValueError(
                f"row {k}: on a point mass the {what} must be {name} = {wanted:.12g} "
                f"(at t = {t:g}), got {got:.12g}{_cause(levels[: k + 2])}"
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
