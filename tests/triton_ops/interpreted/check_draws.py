"""Normals and moments: the words to the bit, the normals within 4 ulp of the native ones (to the
bit where the interpreter fuses), moments to the bit."""

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given
from hypothesis import strategies as st

import fastdiff
from fastdiff import noise, ops
from fastdiff.kernels.triton import launch
from fastdiff.kernels.triton.philox import words
from tests.noise import test_normals
from tests.ops import test_moments
from tests.support import philox_oracle as oracle
from tests.support.helpers import native_only, same_bits
from tests.triton_ops.probe import FUSES

int64 = st.integers(-(2**63), 2**63 - 1)


@triton.jit
def words_kernel(out, keys, SIZE: tl.constexpr):
    block = tl.arange(0, SIZE)
    w0, w1, w2, w3 = words(tl.load(keys), tl.load(keys + 1) + block)
    tl.store(out + 4 * block, w0)
    tl.store(out + 4 * block + 1, w1)
    tl.store(out + 4 * block + 2, w2)
    tl.store(out + 4 * block + 3, w3)


@given(seed=int64, offset=int64)
def test_words(seed, offset):
    out = torch.empty(16, 4, dtype=torch.uint32)
    words_kernel[(1,)](out, torch.tensor([seed, offset]), SIZE=16)
    assert (out.numpy() == oracle.cipher(seed, offset, 16)).all()


def draw(keys, shape, dtype):
    return noise.normal(keys, shape, dtype=dtype)


@pytest.mark.parametrize(
    "name",
    ["test_golden_values", "test_float32", "test_float64", "test_float64_to_fifty_digits",
     "test_prefix", "test_an_offset_skips_blocks", "test_offset_wraps_around"],
)  # fmt: skip
def test_properties_of_normals(name):
    getattr(test_normals, name)(draw=draw)


def ulps(a, b):
    """Distance of two tensors in units of the last place."""
    kind = torch.int32 if a.dtype == torch.float32 else torch.int64
    ordered = [torch.where(v < 0, kind_min(kind) - v, v) for v in (a.view(kind), b.view(kind))]
    return (ordered[0] - ordered[1]).abs().max().item()


def kind_min(kind):
    return torch.iinfo(kind).min


@native_only
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (3, 1025), (1, 5000)])
def test_native_normals(dtype, shape, monkeypatch):
    monkeypatch.setattr(launch, "SMALL_TILE_BYTES", 4096)
    keys = noise.keys(2**63 - 1, len(shape))
    with fastdiff.backend("cpu"):
        expected = ops.normal(keys, shape, dtype=dtype)
    got = ops.normal(keys, shape, dtype=dtype)
    assert ulps(got, expected) <= (0 if FUSES else 4)


@pytest.mark.parametrize("name", ["test_against_long_double", "test_strides_change_nothing"])
def test_properties_of_moments(name):
    getattr(test_moments, name)()


@native_only
@pytest.mark.parametrize("dtype", test_moments.DTYPES)
def test_native_moments(dtype):
    for shape in ((3, 1), (1, 4096), (2, 4097), (1, 9 * 4096 - 5)):
        check_moments(*test_moments.pair(0, shape, dtype))


def check_moments(a, b):
    with fastdiff.backend("cpu"):
        expected = ops.moments(a, b)
    got = ops.moments(a, b)
    test_moments.check(got, a, b)
    if FUSES:
        assert same_bits(got, expected)


def test_empty():
    for shape in ((0, 3), (2, 0)):
        zero = torch.zeros(shape)
        assert torch.equal(ops.moments(zero, zero), torch.zeros(shape[0], 5).double())
        assert ops.normal(noise.keys(0, shape[0]), shape[1:]).shape == shape
