"""One row by names: what the numbers of ``fastdiff.row`` stand for."""

from math import inf
from typing import NamedTuple

import numpy as np

from ..row import COLUMN, FIELDS, TERMS, WIDTH
from .lin import NOTHING, Lin


class Row(NamedTuple):
    """What to do after one model evaluation; the operands are those of ``fastdiff.row``.

    Attributes:
        x: the next state.
        s: the next anchor; without terms it is left as it is.
        remember: what is written into ``slot`` of the history, -1 for none.
        reading: m before clipping, in terms of x and o: how x0 is read. Rows that have no use for m
            say so, too.
        clip: (lo, hi, quantile) of m, the last one 0 for static bounds.
        gain: (g_0, g_1), by exp(g_0 + g_1 gain) the draw is multiplied.
        known: (k_known, k_z), what the state is made of where data are known.
        in_scale, t_next: of the next model input, and the model's next time.
        draw: the number of the Gaussian draw z; zp is the one before.
        live: whether the row is executed.
    """

    x: Lin
    s: Lin = NOTHING
    remember: Lin = NOTHING
    reading: Lin = NOTHING
    clip: tuple[float, float, float] = (-inf, inf, 0.0)
    gain: tuple[float, float] = (0.0, 0.0)
    known: tuple[float, float] = (0.0, 0.0)
    in_scale: float = 0.0
    t_next: float = 0.0
    slot: float = -1.0
    draw: float = 0.0
    live: float = 1.0

    def pack(self) -> list[float]:
        """The ``WIDTH`` numbers that a kernel gets, as float64."""
        return self.pack_all([self])[0].tolist()

    @staticmethod
    def pack_all(rows: list["Row"]) -> np.ndarray:
        """The numbers of all rows, float64 [N, ``WIDTH``]."""
        packed = np.zeros((len(rows), WIDTH))
        at, columns, values = [], [], []
        for k, row in enumerate(rows):
            mixtures = row.x, row.s, row.remember, row.reading
            for where, lin in zip(_MIXTURES, mixtures, strict=True):
                for name, value in lin.terms.items():
                    at.append(k)
                    columns.append(where[name])
                    values.append(value)
        packed[at, columns] = values
        packed[:, _REST] = [(*r.clip, *r.gain, *r.known, *r[7:]) for r in rows]
        return packed

    @classmethod
    def unpack(cls, packed) -> "Row":
        """The row of these numbers."""
        return cls.unpack_all(np.array([packed], dtype=np.float64))[0]

    @classmethod
    def unpack_all(cls, packed: np.ndarray) -> list["Row"]:
        """The rows of an array [N, ``WIDTH``]."""
        mixtures = [[NOTHING] * 4 for _ in packed]
        at, columns = np.nonzero(packed[:, _IN_MIXTURES])
        columns = _IN_MIXTURES[columns]
        values = packed[at, columns]
        for k, column, value in zip(at.tolist(), columns.tolist(), values.tolist(), strict=True):
            which, name = _TERMS[column]
            lin = mixtures[k][which]
            if lin is NOTHING:
                mixtures[k][which] = lin = object.__new__(Lin)  # in fewer steps than Lin()
                lin.terms = {}
            lin.terms[name] = value
        return [
            cls._make(
                (*lins, tuple(row[_CLIP]), tuple(row[_GAIN]), tuple(row[_KNOWN]), *row[_LAST])
            )
            for lins, row in zip(mixtures, packed.tolist(), strict=True)
        ]

    @property
    def reads_m(self) -> bool:
        """Whether x0, as it is clipped, is an operand of the row."""
        return any("m" in lin.terms for lin in (self.x, self.s, self.remember))

    @property
    def draws(self) -> bool:
        """Whether a fresh z is read."""
        return "z" in self.x.terms or "z" in self.s.terms or self.known[1] != 0


#: A sample that stands on it has finished.
END = Row(NOTHING, clip=(0.0, 0.0, 0.0), live=0.0)

#: {operand: column} of x, s, remember and reading
_MIXTURES = [
    {name[2:]: column for name, column in COLUMN.items() if name.startswith(f"{prefix}_")}
    for prefix in "cdep"
]
_TERMS = {c: (which, name) for which, of in enumerate(_MIXTURES) for name, c in of.items()}
_IN_MIXTURES = np.array(sorted(_TERMS))


def _slice(*names):
    """The columns of these fields, which follow each other."""
    first = COLUMN[names[0]]
    assert FIELDS[first : first + len(names)] == names, names
    return slice(first, first + len(names))


_CLIP = _slice("clip_lo", "clip_hi", "dynamic")
_GAIN, _KNOWN = _slice("g_0", "g_1"), _slice("k_known", "k_z")
_LAST = _slice("in_scale", "t_next", "slot", "draw", "live")
#: clip, gain, known and what follows
_REST = [k for part in (_CLIP, _GAIN, _KNOWN, _LAST) for k in range(part.start, part.stop)]
assert set(_MIXTURES[0]) == set(_MIXTURES[1]) == set(TERMS)


def in_scale_of(packed):
    """The input scales in packed rows [..., WIDTH], an array or a tensor."""
    return packed[..., COLUMN["in_scale"]]
