"""The cost of one solver step outside the model: fastdiff and its peers on the same work.

Each contestant is first compared with float64. What is reported is the time of one step, measured
over blocks (``cases.BLOCKS``); the ratios that the project is held to are those of ``report.py``,
whose rounds are interleaved.
"""

import pytest
from agreement import check
from cases import CASES
from peers import CONTESTANTS
from timing import clock

ROUNDS = 50


@pytest.mark.parametrize(
    ("case", "contestant"),
    [
        pytest.param(
            case,
            contestant,
            id=f"{case.name}-{contestant.name}",
            marks=pytest.mark.benchmark(group=case.name, timer=clock(case.block)),
        )
        for case in CASES
        for contestant in CONTESTANTS
        if contestant.takes(case)
    ],
)
def test_step(benchmark, case, contestant):
    runner = contestant(case)
    benchmark.extra_info["relative error"] = check(runner)
    benchmark.extra_info["bars"] = [str(bar) for bar in case.bars]
    benchmark.pedantic(
        runner.advance, setup=lambda: runner.rewind(case.block), rounds=ROUNDS, warmup_rounds=3
    )
