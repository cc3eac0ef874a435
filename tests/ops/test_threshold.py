"""The dynamic threshold: m clipped to a quantile of each sample, then divided by it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import noise
from fastdiff.ops import reference
from fastdiff.row import COLUMN, WIDTH
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import Case

BOTH = pytest.mark.parametrize(
    "op", [pytest.param(None, marks=native_only), reference.step_], ids=["native", "reference"]
)


def threshold_case(x, quantile, highest=torch.inf):
    """x' = m = clip(x, -b, b) / b for every sample but the last, which does not clip."""
    rows = torch.zeros(3, WIDTH, dtype=x.dtype)
    rows[:2, [COLUMN[n] for n in ("p_x", "c_m", "live")]] = 1
    rows[:2, COLUMN["clip_lo"]], rows[:2, COLUMN["clip_hi"]] = -torch.inf, highest
    rows[0, COLUMN["dynamic"]] = quantile
    rows[:, COLUMN["slot"]] = -1
    row = torch.zeros(len(x), dtype=torch.int64)
    row[-1] = 1
    return Case({"x": x.clone(), "row": row, "rows": rows, "outputs": [],
                 "keys": noise.keys(0, len(x)), "threshold": x.new_full([len(x)], -7)})  # fmt: skip


@BOTH
@given(data=st.data())
def test_threshold_is_the_quantile(op, data):
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    shape = data.draw(st.sampled_from([(2, 1), (3, 2), (2, 5, 7), (4, 700), (2, 3, 33, 31)]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    q = data.draw(st.sampled_from([0.001, 0.25, 0.5, 0.9, 0.995, 1.0]))
    highest = data.draw(st.sampled_from([1.0, 1.5, 4.0, torch.inf]))
    x = (data.draw(st.sampled_from([0.3, 2.0, 9.0])) * torch.randn(shape, generator=g)).to(dtype)
    if data.draw(st.booleans()):
        x = x.round()  # ties
    done = threshold_case(x, q, highest).run(op)
    flat = x[:-1].abs().flatten(1).double()
    at = float(torch.tensor(q, dtype=dtype))  # the quantile as the row holds it
    expected = flat.quantile(at, dim=1).clamp(1, highest)
    got = done.threshold[:-1].double()
    unit = 2.0**-23 if dtype == torch.float32 else 2.0**-52
    assert ((got - expected).abs() <= 2 * unit * expected).all()
    bound = done.threshold[:-1].reshape(-1, *[1] * (x.dim() - 1))
    assert torch.equal(done.x[:-1], x[:-1].clamp(-bound, bound) / bound)
    assert done.threshold[-1] in (-7, 0)
    assert torch.equal(done.x[-1], x[-1].clamp(max=highest))


@BOTH
def test_nan_does_not_hide_the_others(op):
    """NaN counts as the largest; it stays NaN and takes no other element along."""
    x = torch.tensor([[4.0, -3.0, 2.0, torch.nan, 0.5], [0.0] * 5])
    done = threshold_case(x, 0.5).run(op)
    assert done.threshold[0] == 3
    expected = torch.tensor([1.0, -1.0, 2 / 3, torch.nan, 0.5 / 3])
    assert torch.allclose(done.x[0], expected, equal_nan=True)


@native_only
@given(seed=st.integers(0, 2**32))
def test_a_sample_does_not_see_its_batch(seed):
    g = torch.Generator().manual_seed(seed)
    case = threshold_case(3 * torch.randn(4, 301, generator=g), 0.9)
    together = case.copy().run()
    for b in range(4):
        assert same_bits(case.sample(b).run().x, together.x[b : b + 1])
