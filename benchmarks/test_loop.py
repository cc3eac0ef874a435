"""Whole sampling loops with small models; the time is that of one step, model included.

``model alone`` in each group is the part that no sampler can save.
"""

import pytest
from loops import LOOP_CONTESTANTS, LOOPS, largest_difference
from timing import beside_each_other

TOLERANCE = 1e-3  # of the largest element: roundings grow through a hundred model evaluations
ROUNDS = 15


@beside_each_other(LOOPS, LOOP_CONTESTANTS, steps=lambda case: case.steps)
def test_loop(benchmark, case, contestant):
    try:
        loop = contestant(case)
    except (FileNotFoundError, ModuleNotFoundError) as missing:
        pytest.skip(str(missing))
    assert largest_difference(case) < TOLERANCE
    benchmark.pedantic(
        loop.advance, setup=lambda: loop.rewind(case.steps), rounds=ROUNDS, warmup_rounds=1
    )
