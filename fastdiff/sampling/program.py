"""What a batch executes, on the host: the rows of all its tables in one list."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..row import WIDTH
from ..solvers import StepTable


class Program:
    """The packed rows of one or several tables, one after the other, and where each sample runs.

    Attributes:
        rows: [R, 40] float64.
        entry, end: [B] index of each sample's entry and END row.
        noise_levels: [R] sigma / alpha where the model is evaluated; NaN on entry and END rows.
    """

    def __init__(self, tables: StepTable | Sequence[StepTable], batch: int):
        if isinstance(tables, StepTable):
            self.tables, self.of_sample = [tables], np.zeros(batch, dtype=np.int64)
        else:
            self.tables, self.of_sample = _distinct(tables, batch)
        starts, rows = [0], [np.zeros((0, WIDTH))]
        for table in self.tables:
            starts.append(starts[-1] + len(table.rows))
            rows.append(table.rows)
        self._starts = np.array(starts)
        self.rows = rows[1] if len(rows) == 2 else np.concatenate(rows)

    @cached_property
    def noise_levels(self) -> np.ndarray:
        levels = np.full(len(self.rows), np.nan)
        for start, table in zip(self._starts[:-1], self.tables, strict=True):
            alpha, sigma = table.alpha[1:-1], table.sigma[1:-1]
            with np.errstate(divide="ignore"):
                levels[start + 1 : start + 1 + table.nfe] = sigma / alpha
        return levels

    @cached_property
    def entry(self) -> np.ndarray:
        return self._starts[self.of_sample]

    @cached_property
    def end(self) -> np.ndarray:
        return self._starts[self.of_sample + 1] - 1

    @property
    def slots(self) -> int:
        most = 0
        for table in self.tables:
            most = max(most, table.history)
        return most

    def uses(self, feature: str) -> bool:
        """Whether any table has the property ``feature``, such as "uses_saved"."""
        for table in self.tables:  # a loop: any() of a generator takes three times as long
            if getattr(table, feature):
                return True
        return False

    def of_rows(self, name: str) -> np.ndarray:
        """[R] a property of the tables that has a value for each row."""
        parts = [getattr(table, name) for table in self.tables]
        return np.concatenate(parts) if parts else np.zeros(0)

    @cached_property
    def draws(self) -> np.ndarray:
        """[R] whether a row draws noise."""
        return self.of_rows("draws").astype(bool)

    @cached_property
    def reads_previous_draw(self) -> np.ndarray:
        """[R] whether a row reads the noise of the draw before."""
        return self.of_rows("reads_previous_draw").astype(bool)

    @cached_property
    def draw_numbers(self) -> np.ndarray:
        """[R] the number of each row's draw."""
        return self.of_rows("draw_numbers").astype(int)

    @cached_property
    def in_scale(self) -> np.ndarray:
        """[R] by which each row scales the state for the next evaluation."""
        return self.of_rows("in_scale")


def _distinct(tables: Sequence[StepTable], batch: int) -> tuple[list[StepTable], np.ndarray]:
    """The different tables among one per sample, and which of them each sample runs."""
    if isinstance(tables, str) or not isinstance(tables, Sequence):
        got = type(tables).__name__
        raise TypeError(f"table: expected a StepTable or a sequence of them, got {got}")
    if len(tables) != batch:
        raise ValueError(f"table: expected {batch} (one per sample), got {len(tables)}")
    for b, table in enumerate(tables):
        if not isinstance(table, StepTable):
            raise TypeError(f"table[{b}]: expected a StepTable, got {type(table).__name__}")
    which: dict[StepTable, int] = {}
    of_sample = [which.setdefault(table, len(which)) for table in tables]
    return list(which), np.array(of_sample, dtype=np.int64)
