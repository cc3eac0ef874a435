"""Normals of keys: algorithm B of torch.func._random, on every implementation."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import noise, ops
from fastdiff.ops import reference
from tests.support import philox_oracle as oracle
from tests.support.helpers import (
    CLONES,
    assert_within,
    cpu_clone,
    native_only,
    same_bits,
    thread_count,
)

GOLDEN_42 = [
    -0.97019, 0.194019, -1.235621, 1.923927, -0.073182, 0.139137, -1.106665, 0.326683
]  # fmt: skip
FLOAT32_BOUND = 1e-6  # two units in the last place of the largest normal
FLOAT64_BOUND = 1e-14

int64 = st.integers(-(2**63), 2**63 - 1)
key_lists = st.lists(st.tuples(int64, int64), min_size=1, max_size=3)


def reference_normal(keys, shape, dtype):
    out = torch.empty((len(keys), *shape), dtype=dtype)
    reference.normal_(out, keys)
    return out


def on_clone(name):
    def draw(keys, shape, dtype):
        with cpu_clone(name):
            return noise.normal(keys, shape, dtype=dtype)

    return draw


PATHS = {"reference": reference_normal, **{name: on_clone(name) for name in CLONES}}
every_path = pytest.mark.parametrize("draw", PATHS.values(), ids=PATHS)


@every_path
def test_golden_values(draw):
    z = draw(noise.key(42)[None], (8,), torch.float32)
    assert_within(z[0], torch.tensor(GOLDEN_42), 6e-7)
    assert_within(z[0], oracle.normals(42, 0, 8), FLOAT32_BOUND)


@every_path
@given(keys=key_lists, numel=st.one_of(st.integers(0, 40), st.integers(0, 700)))
def test_float32(draw, keys, numel):
    z = draw(torch.tensor(keys), (numel,), torch.float32)
    expected = np.stack([oracle.normals(*key, numel) for key in keys])
    assert_within(z, expected, FLOAT32_BOUND)


@every_path
@given(keys=key_lists, numel=st.one_of(st.integers(0, 40), st.integers(0, 700)))
def test_float64(draw, keys, numel):
    z = draw(torch.tensor(keys), (numel,), torch.float64)
    expected = np.stack([oracle.wide_normals(*key, numel) for key in keys])
    assert_within(z, expected, FLOAT64_BOUND)


@every_path
@given(seed=int64, offset=int64)
def test_float64_to_fifty_digits(draw, seed, offset):
    with mpmath.workdps(50):
        ((u, v),) = [map(mpmath.mpf, pair) for pair in oracle.wide_uniforms(seed, offset, 1)]
        radius, angle = mpmath.sqrt(-2 * mpmath.log(u)), 2 * mpmath.pi * v
        expected = [float(radius * mpmath.cos(angle)), float(radius * mpmath.sin(angle))]
    z = draw(torch.tensor([[seed, offset]]), (2,), torch.float64)
    assert_within(z[0], torch.tensor(expected, dtype=torch.float64), FLOAT64_BOUND)


@native_only
@given(keys=key_lists, numel=st.integers(0, 700), dtype=st.sampled_from(["float32", "float64"]))
def test_clones_agree_to_the_bit(keys, numel, dtype):
    drawn = [PATHS[name](torch.tensor(keys), (numel,), getattr(torch, dtype)) for name in CLONES]
    assert all(same_bits(drawn[0], other) for other in drawn[1:])


@every_path
@given(keys=key_lists, numel=st.integers(0, 600))
def test_prefix(draw, keys, numel):
    keys = torch.tensor(keys)
    for dtype in (torch.float32, torch.float64):
        longer = draw(keys, (numel + 1,), dtype)
        assert same_bits(draw(keys, (numel,), dtype), longer[:, :numel])


@every_path
@given(seed=int64, offset=int64, shift=st.integers(0, 70), numel=st.integers(0, 300))
def test_an_offset_skips_blocks(draw, seed, offset, shift, numel):
    def at(start):
        return torch.tensor([[seed, (start + 2**63) % 2**64 - 2**63]])  # wraps around at 2^64

    for dtype, width in ((torch.float32, 4), (torch.float64, 2)):
        longer = draw(at(offset), (width * shift + numel,), dtype)
        assert same_bits(draw(at(offset + shift), (numel,), dtype), longer[:, width * shift :])


@every_path
def test_offset_wraps_around(draw):
    last, first = (noise.key(7, offset)[None] for offset in (-1, 0))
    for dtype, width in ((torch.float32, 4), (torch.float64, 2)):
        both = draw(last, (1024 + width,), dtype)
        assert same_bits(both[:, width:], draw(first, (1024,), dtype))


@given(seed=int64, shape=st.lists(st.integers(0, 5), max_size=4))
def test_shape_is_only_a_shape(seed, shape):
    numel = int(np.prod(shape))
    flat = noise.normal(noise.key(seed), (numel,))
    assert same_bits(noise.normal(noise.key(seed), shape), flat.reshape(shape))
    both = noise.normal(noise.keys([seed, 3], 2), shape)
    assert both.shape == (2, *shape) and same_bits(both[0], flat.reshape(shape))


@given(seed=int64, numel=st.integers(0, 300), dtype=st.sampled_from(["bfloat16", "float16"]))
def test_half_precision_is_float32_rounded(seed, numel, dtype):
    dtype = getattr(torch, dtype)
    z = noise.normal(noise.key(seed), (numel,), dtype=dtype)
    assert same_bits(z, noise.normal(noise.key(seed), (numel,)).to(dtype))


@given(seeds=st.lists(int64, min_size=1, max_size=5), numel=st.integers(0, 600), data=st.data())
def test_events_are_independent_of_each_other(seeds, numel, data):
    keys = noise.keys(seeds, len(seeds))
    z = noise.normal(keys, (numel,))
    order = data.draw(st.permutations(range(len(seeds))))
    assert same_bits(noise.normal(keys[list(order)], (numel,)), z[list(order)])
    for k, seed in enumerate(seeds):
        assert same_bits(noise.normal(noise.key(seed), (numel,)), z[k])


@native_only
@pytest.mark.parametrize("shape", [(3, 100_003), (1, 300_001), (70_001, 3), (257, 1)])
def test_threads_change_nothing(shape):
    drawn = []
    for count in (1, 2):
        with thread_count(count):
            keys = noise.keys(11, shape[0])
            drawn.append(
                [ops.normal(keys, shape[1:], dtype=d) for d in (torch.float32, torch.float64)]
            )
    for one, two in zip(*drawn, strict=True):
        assert same_bits(one, two)


@given(seed=int64, shape=st.lists(st.integers(1, 6), max_size=3), number=st.integers(0, 9))
def test_draws_of_a_trajectory(seed, shape, number):
    numel = int(np.prod(shape))
    keys = noise.keys([seed, 1], 2)
    drawn = noise.draw(keys, shape, number)
    start = seed, number * -(-numel // 4)
    expected = oracle.normals(*start, numel).reshape(shape)
    assert_within(drawn[0], expected, FLOAT32_BOUND)
    assert same_bits(drawn[0], noise.normal(noise.key(*start), shape))


@native_only
def test_tails_are_finite_and_bounded():
    """The largest normal is sqrt(66 log 2) = 6.764: none may be larger, infinite or NaN."""
    _sweep(2**23)


@native_only
@pytest.mark.slow
def test_tails_of_two_to_the_30_normals():
    _sweep(2**30)


def _sweep(count):
    event, events = 2**12, 2**11
    for first in range(0, count // event, events):
        z = noise.normal(noise.keys(first, events), (event,))
        assert z.abs().max() <= 6.77  # false for NaN
