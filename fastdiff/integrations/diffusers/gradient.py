"""One row in PyTorch operations, for those who want the gradient of a step."""

import torch

from ...row import COLUMN, HISTORY

NAMES = ("x", "s", "m", "o", "h0", "h1", "h2", "h3", "z", "zp")


def differentiable(row, operands: dict, gain=None):
    """What a row computes (``fastdiff.row``), recorded for ``backward``.

    Args:
        row: [40] float64.
        operands: name -> tensor [B, ...] of x, o, s, h0 .. h3, z, as far as there are any.
        gain: [B, ...] the log-gain of the noise, where the row scales it.

    Returns:
        (x', s' or None, what is remembered or None, the slot for it)
    """
    values = dict(operands)
    if row[COLUMN["p_x"]] or row[COLUMN["p_o"]]:
        values["m"] = _clip(row, _mix(row, "p", values, ("x", "o")))
    if gain is not None and values.get("z") is not None:
        exponent = float(row[COLUMN["g_0"]]) + float(row[COLUMN["g_1"]]) * gain
        values["z"] = values["z"] * torch.exp(exponent)
    slot = int(row[COLUMN["slot"]])
    return (
        _mix(row, "c", values, NAMES),
        _mix(row, "d", values, NAMES),
        _mix(row, "e", values, ("x", "m", "o")) if 0 <= slot < HISTORY else None,
        slot,
    )


def _mix(row, prefix, values, names):
    total = None
    for name in names:
        factor = float(row[COLUMN[f"{prefix}_{name}"]])
        if factor != 0:
            term = factor * values[name]
            total = term if total is None else total + term
    return total


def _clip(row, value):
    low, high, quantile = (float(row[COLUMN[n]]) for n in ("clip_lo", "clip_hi", "dynamic"))
    if not quantile:
        return value.clamp(low, high)
    bound = torch.quantile(value.flatten(1).abs(), quantile, dim=1).clamp(1, high)
    bound = bound.reshape(-1, *[1] * (value.dim() - 1))
    return torch.minimum(torch.maximum(value, -bound), bound) / bound
