"""Where the samples of a batch stand, known on the host: it never asks the device."""

import numpy as np

from ..deprecated import Alias
from .program import Program


class Standing:
    """The part of ``SamplerState`` that counts steps."""

    program: Program
    _left: int

    @property
    def done(self) -> bool:
        """Whether every sample has finished. Known on the host; asks nothing of the device."""
        return self._left <= 0

    @property
    def remaining(self) -> int:
        """Steps until every sample has finished."""
        return max(self._left, 0)

    @property
    def row_index(self) -> np.ndarray:
        """[B] int64, on the host: the row on which each sample stands, counted over all tables."""
        return np.minimum(self._start + (self._total - self._left), self.program.end)

    place = Alias("row_index")

    @property
    def step_index(self) -> np.ndarray:
        """[B] int64, on the host: how many steps each sample has behind it, counted over its own
        table: one for each evaluation of the model, so a second stage counts, too."""
        return self.row_index - self.program.entry - 1

    @property
    def steps(self) -> np.ndarray:
        """[B] int64, on the host: how many steps (``nfe``) the table of each sample has."""
        return self.program.end - self.program.entry - 1

    @property
    def finished(self) -> np.ndarray:
        """[B] bool, on the host: which samples have executed their last row. They stay in the
        batch as they are: the model is evaluated at their last input again, and what it says is not
        read."""
        return self.row_index == self.program.end

    def _stand_at(self, row_index: np.ndarray) -> None:
        """Count from here: the host knows where every sample stands and never asks the device."""
        self._start = row_index
        self._total = self._left = int((self.program.end - row_index).max(initial=0))
