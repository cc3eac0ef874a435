"""Rows that read the sample from wherever it lies, instead of from the state.

What a scheduler handed out may have been written to in ways that leave no trace (``x.data``,
numpy, DLPack), so a row has to read it again. That takes no copy: the sample is bound as a second
output of the model, and the two mixes of outputs that a row has, o and u, stand for both.
"""

import numpy as np

from ....row import COLUMN

OUTPUT, SAMPLE = (1.0, 0.0), (0.0, 1.0)  # weights of (output, sample)


def beside(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same rows without x, and the weights [N, 2] of (output, sample) in o and in u.

    These are o = out and u = x. Where x0 is clipped, o is all that is clipped, p_x x + p_o out, and
    u is the one of the two that weighs less in it: the other is a mix of o and u.
    """
    p_x, p_o = (rows[:, COLUMN[name]] for name in ("p_x", "p_o"))
    bounded = np.isfinite(rows[:, [COLUMN["clip_lo"], COLUMN["clip_hi"]]]).any(axis=1)
    clipped = (bounded | (rows[:, COLUMN["dynamic"]] > 0)) & ((p_x != 0) | (p_o != 0))
    mostly_x = clipped & (abs(p_x) > abs(p_o))
    first, other = np.where(mostly_x, p_x, p_o), np.where(mostly_x, p_o, p_x)
    first, other = np.where(clipped, first, 1.0), np.where(clipped, other, 0.0)
    made = rows.copy()
    for prefix in "cde":
        x, m, o, u = (COLUMN[f"{prefix}_{name}"] for name in "xmou")
        folded = np.where(clipped, 0.0, rows[:, m])[:, None]  # a linear m is no operand
        parts = np.stack([rows[:, x], rows[:, o]], axis=1)
        p = np.where(folded != 0, np.stack([p_x, p_o], axis=1), 0.0)
        of_x, of_out = (parts + folded * p).T
        of_first, of_other = np.where(mostly_x, (of_x, of_out), (of_out, of_x))
        made[:, o], made[:, u] = of_first / first, of_other - of_first / first * other
        made[:, m], made[:, x] = np.where(clipped, rows[:, m], 0.0), 0.0
    made[:, COLUMN["p_x"]], made[:, COLUMN["p_o"]] = 0.0, clipped
    in_o = np.where(clipped[:, None], np.stack([p_o, p_x], axis=1), OUTPUT)
    return made, in_o, np.where(mostly_x[:, None], OUTPUT, SAMPLE)
