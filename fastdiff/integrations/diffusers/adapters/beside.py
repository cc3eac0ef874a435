"""Rows that read the sample from wherever it lies, instead of from the state.

What a scheduler handed out may have been written to in ways that leave no trace (``x.data``,
numpy, DLPack), so a row has to read it again. That takes no copy: the sample is bound as a second
output of the model, and the two mixes of outputs that a row has, o and u, stand for both.
"""

from math import isfinite

from ....tables.lin import Lin
from ....tables.rows import NOTHING, Row

OUTPUT, SAMPLE = (1.0, 0.0), (0.0, 1.0)  # weights of (output, sample)


def beside(row: Row) -> tuple[Row, tuple[float, float], tuple[float, float]]:
    """The same row without x, and the weights of (output, sample) in o and in u.

    These are o = out and u = x. Where x0 is clipped, o is all that is clipped, p_x x + p_o out, and
    u is the one of the two that weighs less in it: the other is a mix of o and u.
    """
    p_x, p_o = row.reading["x"], row.reading["o"]
    low, high, quantile = row.clip
    bounded = isfinite(low) or isfinite(high) or quantile > 0
    clipped = bounded and (p_x != 0 or p_o != 0)
    mostly_x = clipped and abs(p_x) > abs(p_o)
    first, other = (p_x, p_o) if mostly_x else (p_o, p_x) if clipped else (1.0, 0.0)

    def without_x(lin):
        terms = {**lin.terms}
        of_x, of_out = terms.pop("x", 0.0), terms.pop("o", 0.0)
        if not clipped and "m" in terms:  # a linear m is no operand
            m = terms.pop("m")
            of_x, of_out = of_x + m * p_x, of_out + m * p_o
        of_first, of_other = (of_x, of_out) if mostly_x else (of_out, of_x)
        terms["o"] = of_first / first
        terms["u"] = of_other - of_first / first * other
        return Lin(terms)

    x, s, remember = map(without_x, row[:3])
    reading = Lin({"o": 1.0}) if clipped else NOTHING
    in_o = (p_o, p_x) if clipped else OUTPUT
    return Row(x, s, remember, reading, *row[4:]), in_o, OUTPUT if mostly_x else SAMPLE
