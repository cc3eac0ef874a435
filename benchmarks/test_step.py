"""The cost of one solver step outside the model: fastdiff and its peers on the same work.

Each contestant is first compared with float64. What is reported is the time of one step, measured
over blocks (``cases.BLOCKS``); the ratios that the project is held to are those of ``report.py``,
whose rounds are interleaved.
"""

from agreement import check
from cases import CASES
from peers import CONTESTANTS
from timing import beside_each_other

ROUNDS = 50


@beside_each_other(CASES, CONTESTANTS, steps=lambda case: case.block)
def test_step(benchmark, case, contestant):
    runner = contestant(case)
    benchmark.extra_info["relative error"] = check(runner)
    benchmark.extra_info["bars"] = [str(bar) for bar in case.bars]
    benchmark.pedantic(
        runner.advance, setup=lambda: runner.rewind(case.block), rounds=ROUNDS, warmup_rounds=3
    )
