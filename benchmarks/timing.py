"""Clocks: interleaved rounds for ratios, and a clock that counts in units of work."""

import gc
import time
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Microseconds per unit of work over the rounds of one contestant."""

    median: float
    q1: float
    q3: float
    min: float

    @classmethod
    def of(cls, rounds) -> "Timing":
        return cls(*(float(q) for q in np.quantile(rounds, [0.5, 0.25, 0.75, 0])))

    def to_dict(self) -> dict:
        return asdict(self) | {"iqr": self.q3 - self.q1}


def interleave(contestants: dict, block: int, rounds: int) -> dict:
    """Name -> [rounds] us per step. A B C, B C A, ...: noise of the machine hits all alike, and
    nobody always runs after the same neighbour.

    Args:
        contestants: name -> an object with ``rewind(steps)``, untimed, and ``advance()``.
        block: steps in one timed block.
        rounds: how often each runs, not counting one round of warm-up.
    """
    names = list(contestants)
    spent = {name: [] for name in names}
    gc.collect()
    gc.disable()
    try:
        for r in range(-1, rounds):
            for i in range(len(names)):
                name = names[(i + r) % len(names)]
                contestant = contestants[name]
                contestant.rewind(block)
                start = time.perf_counter_ns()
                contestant.advance()
                elapsed = time.perf_counter_ns() - start
                if r >= 0:
                    spent[name].append(elapsed / block / 1e3)
    finally:
        gc.enable()
    return {name: np.array(values) for name, values in spent.items()}


def clock(units: int):
    """A timer for pytest-benchmark: seconds divided by ``units``, so that a block of ``units`` is
    reported as if it were one."""

    def seconds_per_unit():
        return time.perf_counter() / units

    return seconds_per_unit


def beside_each_other(cases, contestants, steps):
    """Parametrizes a benchmark: every contestant on every case that it takes, one group a case,
    timed by the step."""
    import pytest  # report.py does without

    return pytest.mark.parametrize(
        ("case", "contestant"),
        [
            pytest.param(
                case,
                contestant,
                id=f"{case.name}-{contestant.name}",
                marks=pytest.mark.benchmark(group=case.name, timer=clock(steps(case))),
            )
            for case in cases
            for contestant in contestants
            if contestant.takes(case)
        ],
    )
