"""The table a solver is lowered to: float64 numbers known before the first model call."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from .. import files
from ..arguments import number, sequence
from ..deprecated import Alias, renamed
from ..row import COLUMN
from ..schedules.base import reals
from . import table_file
from .check import LEVEL as LEVEL
from .check import check
from .rows import Row


@renamed(quantity="prediction_target")
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StepTable:
    """The rows of one sampling run, with what is needed to check them. Made by ``Solver.lower``.

    With N model evaluations there are N + 2 rows (entry, N, END; see ``fastdiff.row``) and N + 2
    noise levels: ``levels[0]`` is where the initial state lives, ``levels[k]`` where row k's model
    evaluation is, and row k lands on ``levels[k + 1]``.

    Attributes:
        rows: float64 [N + 2, 40], read-only.
        levels: float64 [N + 2, 7], read-only: t, alpha, sigma; the input scale and model time of
            the evaluation; and (a, b) of the output a x0 + b eps of an exact model there. The last
            four are 0 without evaluation.
        solver, schedule: their repr.
        prediction: what the model is taken to output.
        prediction_target: "x0" or "eps", what the solver works in.
        order: the order in the sense of the solver's paper (weak order if stochastic).
        exact_on_point_mass: "full", "drift" or "none"; what the table was checked against.
        clip: None, or (lo, hi, q): x0 is clamped to [lo, hi], or, with q > 0, to the q-quantile of
            its absolute value in the sample.

    Raises:
        ValueError: the rows are malformed, or fail the point-mass identity they declare
            (``fastdiff.tables.check``).
    """

    rows: np.ndarray
    levels: np.ndarray
    solver: str
    schedule: str
    prediction: str
    prediction_target: str
    order: int
    exact_on_point_mass: str = "full"
    clip: tuple[float, float, float] | None = None

    def __post_init__(self):
        for name in ("rows", "levels"):
            array = np.array(reals(name, getattr(self, name)))
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        names = ("solver", "schedule", "prediction", "prediction_target", "exact_on_point_mass")
        for name in names:
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"StepTable: {name} must be a string, got {getattr(self, name)!r}")
        if isinstance(self.order, bool) or not isinstance(self.order, int) or self.order < 1:
            raise ValueError(f"StepTable: order must be a positive integer, got {self.order!r}")
        if self.exact_on_point_mass not in ("full", "drift", "none"):
            raise ValueError(
                'StepTable: exact_on_point_mass must be "full", "drift" or "none", '
                f"got {self.exact_on_point_mass!r}"
            )
        if self.clip is not None:
            clip = sequence("clip", self.clip, "None or (lo, hi, quantile)", 3)
            clip = tuple(number("clip", bound, finite=False) for bound in clip)
            object.__setattr__(self, "clip", tuple(map(float, clip)))
        try:
            check(self.rows, self.levels, self.clip, self.exact_on_point_mass)
        except ValueError as error:
            raise ValueError(f"StepTable of {self.solver} on {self.schedule}: {error}") from None

    @property
    def nfe(self) -> int:
        """N, the number of model evaluations."""
        return len(self.rows) - 2

    @property
    def noise_draws(self) -> int:
        """How many standard normal draws per element a run makes, the initial state not counted."""
        return int(self.draws.sum())

    @property
    def stochastic(self) -> bool:
        """Whether any row draws noise."""
        return self.noise_draws > 0

    @cached_property
    def history(self) -> int:
        """The number of history slots in use, 0 to 4."""
        return int(self.rows[:, COLUMN["slot"]].max()) + 1

    @cached_property
    def uses_saved(self) -> bool:
        """Whether the anchor s is in use."""
        return self._is_read("c_s", "d_s")

    def _is_read(self, *names: str) -> bool:
        return bool(self._where(*names).any())

    @cached_property
    def uses_secondary_mix(self) -> bool:
        """Whether a row reads the secondary mix of the model's outputs (CFG++)."""
        return self._is_read("c_u", "d_u", "e_u")

    uses_second_mix = Alias("uses_secondary_mix")

    @cached_property
    def uses_gain(self) -> bool:
        """Whether half of the model's channels are read as a learned variance."""
        return self._is_read("g_1")

    @cached_property
    def uses_known(self) -> bool:
        """Whether known data are blended in (inpainting)."""
        return self._is_read("k_known", "k_z")

    @cached_property
    def shows_x0(self) -> bool:
        """Whether every row says how x0 is read. (Those of older files do where it is clipped.)"""
        return bool(self._where("p_x", "p_o")[1:-1].all())

    @cached_property
    def dynamic(self) -> bool:
        """Whether x0 is clipped to a quantile of each sample."""
        return self._is_read("dynamic")

    @property
    def first_stages(self) -> np.ndarray:
        """The rows, from 1 on, that start a step: those that do not go back to a saved anchor."""
        return 1 + np.flatnonzero(self.rows[1:-1, COLUMN["c_s"]] == 0)

    @cached_property
    def draws(self) -> np.ndarray:
        """[N + 2] whether a row draws noise."""
        return self._where("c_z", "d_z", "k_z")

    @cached_property
    def reads_previous_draw(self) -> np.ndarray:
        """[N + 2] whether a row reads the noise of the draw before."""
        return self._where("c_zp", "d_zp")

    @property
    def draw_numbers(self) -> np.ndarray:
        """[N + 2] the number of the draw of each row, the first one 1."""
        return self.rows[:, COLUMN["draw"]].astype(int)

    @property
    def in_scale(self) -> np.ndarray:
        """[N + 2] by which a row scales the state for the next evaluation; 0: there is none."""
        return self.rows[:, COLUMN["in_scale"]]

    def _where(self, *names: str) -> np.ndarray:
        """[N + 2] whether any of these fields is not zero."""
        return (self.rows[:, [COLUMN[name] for name in names]] != 0).any(axis=1)

    @cached_property
    def reads_output(self) -> np.ndarray:
        """[N + 2] whether a row reads what the model returned."""
        of_x0 = self._where("c_m", "d_m", "e_m") & self._where("p_o")
        return of_x0 | self._where("c_o", "d_o", "e_o", "c_u", "d_u", "e_u", "g_1")

    @property
    def t(self) -> np.ndarray:
        """Schedule times of the levels, float64 [N + 2]."""
        return self.levels[:, 0]

    @property
    def alpha(self) -> np.ndarray:
        """alpha of the levels, float64 [N + 2]."""
        return self.levels[:, 1]

    @property
    def sigma(self) -> np.ndarray:
        """sigma of the levels, float64 [N + 2]."""
        return self.levels[:, 2]

    @property
    def model_t(self) -> np.ndarray:
        """What the model is conditioned on at each of its evaluations, float64 [N]."""
        return self.levels[1:-1, 4]

    def pack(self, dtype=np.float32) -> np.ndarray:
        """A copy of the rows in the state's dtype, [N + 2, 40]: what a kernel gets."""
        return self.rows.astype(dtype)

    def _meta(self):
        return {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rows", "levels")
        }

    def __eq__(self, other):
        """Equality by content."""
        if not isinstance(other, StepTable):
            return NotImplemented
        same = np.array_equal(self.rows, other.rows) and np.array_equal(self.levels, other.levels)
        return bool(same) and self._meta() == other._meta()

    def __hash__(self):
        return hash((self.rows.tobytes(), self.solver, self.schedule, self.prediction))

    def save(self, path) -> None:
        """Write the table to ``path`` (an .npz archive, whatever its suffix), whole or not at all.

        Raises:
            OSError: the file cannot be written; the one that was there stays as it is.
        """
        table_file.write(path, self.rows, self.levels, self._meta())

    @classmethod
    def load(cls, path) -> "StepTable":
        """Read a table back and check it again.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a table, of another version, damaged, or its rows fail the
                check.
        """
        rows, levels, meta = table_file.read(path)
        with files.contents(path, "a valid StepTable"):
            return cls(rows=rows, levels=levels, **meta)

    def __repr__(self):
        what = f"{self.solver}, {self.schedule}, prediction={self.prediction!r}"
        return f"StepTable({what}, nfe={self.nfe})"

    def __str__(self):
        """The rows in words, the middle of a long table left out."""
        kind = f"stochastic, {self.noise_draws} draws" if self.stochastic else "deterministic"
        head = [
            f"{self.solver} on {self.schedule}",
            f"prediction {self.prediction}, works in {self.prediction_target}, order {self.order}, "
            f"{kind}, nfe {self.nfe}, history {self.history}, clip {self.clip}, "
            f"point mass {self.exact_on_point_mass}",
        ]
        lines = [self._line(k) for k in range(len(self.rows) - 1)]
        if len(lines) > 24:
            lines[12:-11] = [f"      ... {len(lines) - 23} more rows ..."]
        return "\n".join(head + lines)

    def _line(self, k):
        row = Row.unpack(self.rows[k].tolist())
        label = "entry" if k == 0 else f"{k:5d}"
        parts = [f"{label}  t {self.t[k]:.6g} -> {self.t[k + 1]:.6g}"]
        if row.reads_m:
            parts.append(f"m = clip({_terms(row.reading)})")
        parts.append(f"x' = {_terms(row.x)}")
        if row.s.terms:
            parts.append(f"s' = {_terms(row.s)}")
        if row.slot >= 0:
            parts.append(f"h{row.slot:g} = {_terms(row.remember)}")
        return "  |  ".join(parts)


def _terms(lin):
    return " ".join(f"{value:+.6g} {name}" for name, value in lin.terms.items())
