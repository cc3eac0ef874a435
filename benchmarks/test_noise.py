"""The cost of one standard normal: each CPU clone of fastdiff's generator beside torch.randn.

The same work: a new float32 tensor of independent normals. fastdiff's are a pure function of keys
(one for each sample, here the first dimension), torch's come off a generator's state.
"""

import math

import pytest
import torch
from cases import BLOCKS
from timing import clock

import fastdiff as fd

ROUNDS = 200


def name(shape):
    return "x".join(map(str, shape))


by_shape = pytest.mark.parametrize(
    "shape",
    [
        pytest.param(
            shape,
            id=name(shape),
            marks=pytest.mark.benchmark(
                group=f"one of {name(shape)} normals", timer=clock(math.prod(shape))
            ),
        )
        for shape in BLOCKS
    ],
)


@pytest.fixture(params=fd.build_info()["cpu_clones"])
def clone(request):
    """One CPU clone, in use during the test."""
    before = fd.build_info()["cpu_clone"]
    fd.ops.native.select_cpu_clone(request.param)
    yield request.param
    fd.ops.native.select_cpu_clone(before)


@by_shape
def test_fastdiff(benchmark, shape, clone):
    keys = fd.noise.keys(0, shape[0])
    expected = fd.ops.reference.normals(keys, math.prod(shape[1:])).view(shape)
    torch.testing.assert_close(fd.ops.normal(keys, shape[1:]), expected.float())
    benchmark.pedantic(fd.ops.normal, (keys, shape[1:]), rounds=ROUNDS, warmup_rounds=3)


@by_shape
def test_torch(benchmark, shape):
    benchmark.pedantic(torch.randn, (shape,), rounds=ROUNDS, warmup_rounds=3)
