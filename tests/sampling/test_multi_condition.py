"""Guidance by several conditions, each on top of the one before."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG, MultiCondition
from tests.support.helpers import assert_within, same_bits
from tests.support.toy import TABLES, Counting, model, start

SHIFTS = torch.tensor([[0.0, 0.0, 0.0], [0.5, -1.0, 0.25], [2.0, 0.5, -0.5], [-1.0, 3.0, 1.0]])
SCALE = st.one_of(st.floats(-3, 8), st.lists(st.floats(-3, 8), min_size=3, max_size=3))


def conditions(count):
    given = [{"shift": shift} for shift in SHIFTS[: count + 1]]
    return {"uncond": given[0], "cond": given[1:]}


def guided(scales, table, inner=model, x=None, **options):
    counting = Counting(inner)
    x = start() if x is None else x
    guidance = MultiCondition(scales, **options)
    sample = fd.sample(counting, x, table, guidance=guidance, **conditions(len(scales)))
    return sample, [len(x) for x, _, _ in counting.calls]


@pytest.mark.parametrize("solver", ["DDIM", "DPMpp2M", "DDPM", "Heun"])
@pytest.mark.parametrize("count", [2, 3])
@given(data=st.data())
def test_by_hand(solver, count, data):
    scales = data.draw(st.tuples(*[SCALE] * count))
    each = [torch.tensor(s, dtype=torch.float64).expand(3).reshape(3, 1, 1) for s in scales]

    def mixed(x, t):
        out = previous = model(x, t, SHIFTS[0])
        for scale, shift in zip(each, SHIFTS[1:], strict=False):
            now = model(x, t, shift)
            out, previous = out + scale * (now - previous), now
        return out

    x = start(dtype=torch.float64)
    sample, batches = guided(scales, TABLES[solver], x=x)
    expected = fd.sample(mixed, x, TABLES[solver])
    assert_within(sample, expected, 1e-9 * float(expected.abs().max().clamp(min=1)))
    assert set(batches) <= {3, 3 * (count + 1)}


def test_the_last_one_alone():
    table = TABLES["DPMpp2M"]
    expected = fd.sample(model, start(), table, cond={"shift": SHIFTS[2]})
    sample, batches = guided((1.0, 1.0), table)
    assert same_bits(sample, expected) and batches == [3] * table.nfe
    levels = table.sigma[1:-1] / table.alpha[1:-1]
    nowhere, batches = guided((3.0, 2.0), table, interval=(-2, -1))
    assert same_bits(nowhere, expected) and batches == [3] * table.nfe
    lo, hi = np.sort(levels)[[0, -2]]
    _, batches = guided((3.0, 2.0), table, interval=(lo, hi))
    assert batches == [9 if lo < level <= hi else 3 for level in levels]


def test_of_one_condition_it_is_plain_guidance():
    table, values = TABLES["DDIM"], {"uncond": {"shift": SHIFTS[0]}, "cond": {"shift": SHIFTS[1]}}
    one = fd.sample(model, start(), table, guidance=MultiCondition((2.5,)), **values)
    assert same_bits(one, fd.sample(model, start(), table, guidance=CFG(2.5), **values))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MultiCondition(2.0), ValueError, "scales: expected one to three in a tuple"),
        (lambda: MultiCondition(()), ValueError, "scales: expected one to three in a tuple"),
        (lambda: MultiCondition((1, 2, 3, 4)), ValueError, "scales: expected one to three"),
        (lambda: MultiCondition((1.0, "a")), TypeError, r"scales\[1\]: expected a number or one"),
        (lambda: MultiCondition((1.0, [[1.0]])), ValueError, r"scales\[1\]: expected a finite"),
        (lambda: guided((1.0, [1.0, 2.0]), TABLES["DDIM"]), ValueError,
         r"scales\[1\]: expected 3 \(one per sample\), got 2"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("cond", "error", "message"),
    [
        ({"shift": SHIFTS[1]}, TypeError, "cond: expected a list of 2 dicts, one per scale, got d"),
        ([{"shift": SHIFTS[1]}], TypeError, "cond: expected a list of 2 dicts, one per scale, got"),
        ([{"shift": SHIFTS[1]}, 3], TypeError, r"cond\[1\]: expected a dict of keyword arguments"),
        ([{"shift": SHIFTS[1]}, {}], ValueError, r"uncond: expected the keys of cond\[1\], \[\]"),
        ([{"shift": SHIFTS[1]}, {"shift": SHIFTS[1][:2]}], ValueError,
         r"cond\[1\]\['shift'\]: expected a leading dimension of 3"),
    ],
)  # fmt: skip
def test_conditions_that_do_not_fit(cond, error, message):
    with pytest.raises(error, match=message):
        fd.sample(
            model, start(), TABLES["DDIM"], guidance=MultiCondition((2.0, 3.0)),
            uncond={"shift": SHIFTS[0]}, cond=cond,
        )  # fmt: skip
