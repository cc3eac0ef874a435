"""One row in PyTorch operations, for those who want the gradient of a step."""

import math
from typing import NamedTuple

import torch

from ...row import COLUMN, HISTORY

NAMES = ("x", "s", "m", "o", "h0", "h1", "h2", "h3", "z", "zp")
Term = tuple[str, float]


class Terms(NamedTuple):
    """What of a row (``fastdiff.row``) is not zero: operands and their factors."""

    p: tuple[Term, ...]
    c: tuple[Term, ...]
    d: tuple[Term, ...]
    e: tuple[Term, ...]
    bounds: tuple[float, float, float] | None  # low, high, quantile
    gain: tuple[float, float]
    slot: int

    @classmethod
    def of(cls, row) -> "Terms":
        at = {name: float(row[column]) for name, column in COLUMN.items()}

        def terms(prefix, names):
            found = ((name, at[f"{prefix}_{name}"]) for name in names)
            return tuple((name, factor) for name, factor in found if factor != 0)

        bounds = at["clip_lo"], at["clip_hi"], at["dynamic"]
        slot = int(at["slot"])
        return cls(
            terms("p", "xo"), terms("c", NAMES), terms("d", NAMES),
            terms("e", "xmo") if 0 <= slot < HISTORY else (),
            None if bounds == (-math.inf, math.inf, 0) else bounds, (at["g_0"], at["g_1"]), slot,
        )  # fmt: skip


def differentiable(terms: Terms, operands: dict, gain=None):
    """What a row computes, recorded for ``backward``.

    Args:
        operands: name -> tensor [B, ...] of x, o, s, h0 .. h3, z, as far as there are any.
        gain: [B, ...] the log-gain of the noise, where the row scales it.

    Returns:
        (x', s' or None, what is remembered or None, the slot for it)
    """
    values = dict(operands)
    if terms.p:
        m = _mix(terms.p, values)
        values["m"] = m if terms.bounds is None else _clip(*terms.bounds, m)
    if gain is not None and values.get("z") is not None:
        values["z"] = values["z"] * torch.exp(terms.gain[0] + terms.gain[1] * gain)
    made = (_mix(part, values) for part in (terms.c, terms.d, terms.e))
    return *made, terms.slot


def _mix(terms, values):
    total = None
    for name, factor in terms:
        if total is None:
            total = values[name] if factor == 1 else factor * values[name]
        else:
            total = torch.add(total, values[name], alpha=factor)
    return total


def _clip(low, high, quantile, value):
    if not quantile:
        return value.clamp(low, high)
    bound = torch.quantile(value.flatten(1).abs(), quantile, dim=1).clamp(1, high)
    bound = bound.reshape(-1, *[1] * (value.dim() - 1))
    return torch.minimum(torch.maximum(value, -bound), bound) / bound
