"""The functional ops inside compiled programs on a device."""

import pytest
import torch

from fastdiff import noise, ops
from fastdiff.ops.operands import NAMES as ARGUMENTS
from tests.gpu.device_calls import DEVICE, WRITTEN, assert_equal, at, needs_cuda, random_call

# The compiler's own warnings (tensor cores not in use, APIs about to go) are not ours.
pytestmark = [needs_cuda, pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()


def step_and_more(call):
    """A step between operations that the compiler may fuse, reorder or drop."""
    named = {name: call[name] for name in ARGUMENTS if name not in ("x", "row", "rows", "outputs")}
    outputs = [out + out for out in call["outputs"]]
    ops.step_(call["x"], call["row"], call["rows"], outputs, **named)
    return 2 * call["x"], call["row"] + 1


@pytest.mark.parametrize("seed", range(2))
def test_step(seed):
    call = random_call(seed, batch=3, shape=(4, 7, 9))
    eager, compiled = at(call), at(call)
    expected = step_and_more(eager)
    got = torch.compile(step_and_more, fullgraph=True)(compiled)
    for a, b in zip(got, expected, strict=True):
        assert_equal(a, b, "result")
    for name in WRITTEN:
        assert_equal(compiled[name], eager[name], name)


def draw(keys, a):
    z = ops.normal(keys, (5,))
    return ops.moments(a, z), 2 * z


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_draws_for_changing_batches(mode):
    compiled = torch.compile(draw, fullgraph=True, mode=mode)
    for batch in (2, 3, 7, 3):
        keys, a = noise.keys(batch, batch, device=DEVICE), torch.ones(batch, 5, device=DEVICE)
        torch.compiler.cudagraph_mark_step_begin()
        for got, expected in zip(compiled(keys, a), draw(keys, a), strict=True):
            assert_equal(got, expected, f"batch {batch}")
