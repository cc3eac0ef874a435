"""Keys: which seeds are accepted, and what each means."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import noise, ops

seeds64 = st.integers(-(2**63), 2**64 - 1)


@given(seed=seeds64, offset=seeds64)
def test_key_holds_the_bits(seed, offset):
    key = noise.key(seed, offset)
    assert key.dtype == torch.int64 and key.shape == (2,)
    assert [v % 2**64 for v in key.tolist()] == [seed % 2**64, offset % 2**64]


@given(seed=seeds64, batch=st.integers(0, 5))
def test_an_int_counts_up(seed, batch):
    keys = noise.keys(seed, batch)
    assert keys.shape == (batch, 2)
    expected = [[(seed + b) % 2**64, 0] for b in range(batch)]
    assert [[v % 2**64 for v in key] for key in keys.tolist()] == expected


@given(seeds=st.lists(seeds64, max_size=5))
def test_forms_of_the_same_seeds(seeds):
    keys = noise.keys(seeds, len(seeds))
    as_bits = [v - 2**64 if v >= 2**63 else v for v in seeds]
    tensor = torch.tensor(as_bits, dtype=torch.int64)
    for form in (tuple(seeds), tensor, keys):
        if len(seeds) == 2 and form is tensor:
            continue  # [2] is two seeds, as tested below
        assert torch.equal(noise.keys(form, len(seeds)), keys)


def test_two_seeds_are_not_a_key():
    expected = [[5, 0], [9, 0]]
    assert noise.keys(torch.tensor([5, 9]), 2).tolist() == expected
    assert noise.keys([5, 9], 2).tolist() == expected
    assert noise.keys(range(5, 7), 2).tolist() == [[5, 0], [6, 0]]


@pytest.mark.parametrize("seed", [1.0, "1", None, True, 2**64, -(2**63) - 1, [1.5, 2]])
def test_bad_seeds(seed):
    with pytest.raises((TypeError, ValueError), match=r"^seeds?(\[0\])?: expected"):
        noise.keys(seed, 2)
    if not isinstance(seed, list):
        with pytest.raises((TypeError, ValueError), match="^seed: expected"):
            noise.key(seed)
        with pytest.raises((TypeError, ValueError), match="^data: expected"):
            noise.fold_in(noise.key(1), seed)


@pytest.mark.parametrize(
    "seeds",
    [
        [1, 2],
        [],
        torch.tensor([1, 2]),
        torch.tensor([1.0, 2, 3]),
        torch.zeros(3, 3, dtype=torch.int64),
        torch.zeros(3, dtype=torch.int32),
        torch.tensor(1),
    ],
)
def test_wrong_number_or_kind_of_seeds(seeds):
    with pytest.raises(ValueError, match="^seeds: expected .*3.*, got"):
        noise.keys(seeds, 3)


def test_numpy_integers_are_integers():
    assert noise.keys(np.int64(3), 2).tolist() == [[3, 0], [4, 0]]
    assert noise.keys([np.int64(3), np.uint64(2**64 - 1)], 2).tolist() == [[3, 0], [-1, 0]]


def test_the_keys_given_are_not_kept():
    given_keys = noise.keys([1, 2], 2)
    noise.keys(given_keys, 2)[0] = 9
    assert given_keys.tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize(
    "keys",
    [
        torch.zeros(2, 2),
        torch.zeros(2, 2, dtype=torch.int32),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2, 2, 2, dtype=torch.int64),
        torch.zeros((), dtype=torch.int64),
    ],
)
def test_bad_keys(keys):
    with pytest.raises(ValueError, match="^keys: expected int64"):
        noise.normal(keys, (3,))


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.float8_e5m2])
def test_bad_dtype(dtype):
    with pytest.raises(ValueError, match="^dtype: expected a floating dtype"):
        noise.normal(noise.key(1), (3,), dtype=dtype)


def test_keys_may_be_strided():
    wide = torch.arange(12).reshape(3, 4)
    assert torch.equal(ops.normal(wide[:, 1:3], (5,)), ops.normal(wide[:, 1:3].clone(), (5,)))
    assert torch.equal(ops.normal(wide[:2, :2].T, (5,)), ops.normal(wide[:2, :2].T.clone(), (5,)))
