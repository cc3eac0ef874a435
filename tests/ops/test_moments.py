"""moments: five sums of two tensors, per sample."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import ops
from fastdiff.ops import reference
from tests.support.helpers import (
    CLONES,
    assert_within,
    cpu_clone,
    native_only,
    same_bits,
    thread_count,
)

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def pair(seed, shape, dtype):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn((2, *shape), generator=g, dtype=torch.float64)
    return (a + 0.3).to(dtype), (2 * b - a).to(dtype)


calls = st.builds(
    pair,
    st.integers(0, 2**32),
    st.one_of(
        st.lists(st.integers(0, 6), min_size=1, max_size=4),
        st.tuples(st.integers(1, 4), st.integers(1, 2000)),
    ),
    st.sampled_from(DTYPES),
)


def check(sums, a, b):
    assert sums.dtype == torch.float64 and sums.shape == (len(a), 5)
    a, b = (v.double().reshape(len(v), -1 if len(v) else 0).numpy() for v in (a, b))
    for k, (v, w) in enumerate(((a, 1 + 0 * a), (b, 1 + 0 * b), (a, a), (a, b), (b, b))):
        exact = np.sum((v * w).astype(np.longdouble), axis=1)
        bound = (a.shape[1] + 2) * 2.0**-53 * np.abs(v * w).sum(axis=1)
        assert_within(sums[:, k], exact.astype(np.float64), bound, f"sum {k}")


@given(ab=calls)
def test_against_long_double(ab):
    check(ops.moments(*ab), *ab)


@given(ab=calls)
def test_reference(ab):
    a, b = (v.reshape(len(v), v[0].numel() if len(v) else 0) for v in ab)
    out = torch.empty(len(a), 5, dtype=torch.float64)
    reference.moments_(out, a, b)
    check(out, a, b)


@native_only
@given(ab=calls, data=st.data())
def test_a_sample_does_not_see_its_batch(ab, data):
    a, b = ab
    sums = ops.moments(a, b)
    if len(a):
        order = list(data.draw(st.permutations(range(len(a)))))
        assert same_bits(ops.moments(a[order], b[order]), sums[order])
        k = order[0]
        assert same_bits(ops.moments(a[k : k + 1], b[k : k + 1])[0], sums[k])
    for name in CLONES:
        with cpu_clone(name):
            assert same_bits(ops.moments(a, b), sums)


@native_only
@given(ab=calls)
def test_strides_change_nothing(ab):
    a, b = ab
    doubled = torch.stack((a, b), dim=-1)
    assert same_bits(ops.moments(doubled[..., 0], doubled[..., 1]), ops.moments(a, b))


@native_only
def test_threads_change_nothing():
    a, b = pair(0, (37, 10_007), torch.float32)
    sums = []
    for count in (1, 2):
        with thread_count(count):
            sums.append(ops.moments(a, b))
    assert same_bits(*sums)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4)),
        (torch.zeros(2, 3), torch.zeros(2, 3).double()),
        (torch.zeros(2, 3), torch.zeros(2, 3, device="meta")),
        (torch.zeros(2, 3), torch.zeros(6)),
        (torch.zeros(()), torch.zeros(())),
        (torch.zeros(2, 3).int(), torch.zeros(2, 3).int()),
        (torch.zeros(2, 3).bool(), torch.zeros(2, 3).bool()),
    ],
)
def test_errors(a, b):
    with pytest.raises((ValueError, RuntimeError), match="^(a|b): expected .*, got"):
        ops.moments(a, b)


def test_a_gradient_is_refused():
    with pytest.raises(RuntimeError, match="^b: expected a tensor without gradient"):
        ops.moments(torch.ones(2, 3), torch.ones(2, 3, requires_grad=True))
