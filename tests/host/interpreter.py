"""Rows, executed literally: a float64 oracle that shares only the layout of a row with the
package."""

import numpy as np

from fastdiff.row import COLUMN, HISTORY


def run(packed, model, x, draw=None, given=()):
    """Execute a packed table.

    Args:
        packed: float [N + 2, 40], without a learned variance, known data or a dynamic threshold.
        model: callable (model_input, timestep) -> output, arrays of x's shape.
        x: the initial state.
        draw: callable n -> standard normal number n >= 1, an array of x's shape; not needed if the
            table is deterministic.
        given: states to take at the first evaluations instead of what the rows make of them.

    Returns:
        The final state; the final anchor (None if never saved); the states at the evaluations.
    """
    x, s, out, visited = np.array(x, dtype=np.float64), None, None, []
    ring = [None] * HISTORY
    for row in np.asarray(packed, dtype=np.float64):
        field = dict(zip(COLUMN, row, strict=True))
        if field["live"] == 0:
            break
        zero = np.zeros_like(x)

        def mix(prefix, operands, field=field, zero=zero):
            terms = [(field[f"{prefix}_{name}"], value) for name, value in operands.items()]
            return sum((c * value for c, value in terms if c != 0), zero)

        m = None
        if field["p_x"] != 0 or field["p_o"] != 0:
            m = np.clip(mix("p", {"x": x, "o": out}), field["clip_lo"], field["clip_hi"])
        operands = {"x": x, "s": s, "m": m, "o": out, "u": out}
        operands |= {f"h{k}": value for k, value in enumerate(ring)}
        for name, number in (("z", field["draw"]), ("zp", field["draw"] - 1)):
            if field[f"c_{name}"] != 0 or field[f"d_{name}"] != 0:
                operands[name] = draw(int(number))
        saves = any(field[f"d_{name}"] != 0 for name in operands)
        new_x, new_s = mix("c", operands), mix("d", operands) if saves else s
        if field["slot"] >= 0:
            ring[int(field["slot"])] = mix("e", {"x": x, "m": m, "o": out, "u": out})
        x, s = new_x, new_s
        if field["in_scale"] != 0:
            x = given[len(visited)] if len(visited) < len(given) else x
            visited.append(x)
            out = model(field["in_scale"] * x, field["t_next"])
    return x, s, visited
