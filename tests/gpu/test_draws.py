"""Normals and moments on a device: the bits of the CPU."""

import pytest
import torch

from fastdiff import noise, ops
from tests.gpu.device_calls import DEVICE, LAYOUTS, assert_equal, at, needs_cuda

pytestmark = needs_cuda


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shape",
    [(0,), (1,), (2,), (3,), (5,), (511,), (512,), (513,), (1023,), (7, 11, 13), (2**20 + 5,)],
)
def test_normals(dtype, shape):
    g = torch.Generator().manual_seed(len(shape))
    keys = torch.randint(-(2**63), 2**63 - 1, (3, 2), generator=g)
    keys[1, 1] = -2  # the offset wraps around at 2^64
    expected = ops.normal(keys, shape, dtype=dtype)
    assert_equal(ops.normal(keys.to(DEVICE), shape, dtype=dtype), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_of_many_keys(dtype):
    for events, numel in [(0, 5), (70_001, 3), (300_000, 1)]:
        keys = noise.keys(11, events)
        expected = ops.normal(keys, (numel,), dtype=dtype)
        assert_equal(ops.normal(keys.to(DEVICE), (numel,), dtype=dtype), expected, f"{events}")


def pair(shape, dtype):
    g = torch.Generator().manual_seed(sum(shape))
    a, b = torch.randn((2, *shape), generator=g, dtype=torch.float64)
    return (a + 0.3).to(dtype), (2 * b - a).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "shape",
    [(0, 4), (3, 0), (4,), (3, 1), (2, 127), (2, 128), (3, 4096), (3, 4097), (2, 3, 57, 59),
     (5, 100_003), (66_000, 3)],
)  # fmt: skip
def test_moments(dtype, shape):
    a, b = pair(shape, dtype)
    assert_equal(ops.moments(a.to(DEVICE), b.to(DEVICE)), ops.moments(a, b))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments_of_strided_tensors(layout):
    a, b = (LAYOUTS[layout](v) for v in pair((4, 6, 700), torch.float32))
    assert_equal(ops.moments(at(a), at(b)), ops.moments(a.contiguous(), b.contiguous()))
