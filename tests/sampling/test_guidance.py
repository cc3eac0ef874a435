"""Classifier-free guidance: weights, what the model is asked, per-sample scales."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG
from tests.support.helpers import assert_within, same_bits
from tests.support.toy import SOLVERS, TABLES, Counting, finish, model, start, table_of

SHIFT = torch.tensor([0.5, -1.0, 0.25])
CONDITIONS = {"cond": {"shift": SHIFT}, "uncond": {"shift": torch.zeros(3)}}
# CFG++ reads the unconditional output at every scale: test_operands.py
every_solver = pytest.mark.parametrize("name", [n for n in SOLVERS if n != "DDIMCFGpp"])


def guided(table, guidance, inner=model, **options):
    counting = Counting(inner)
    sample = fd.sample(counting, start(), table, guidance=guidance, **CONDITIONS, **options)
    return sample, [len(x) for x, _, _ in counting.calls]


def plain(table, shift):
    return fd.sample(model, start(), table, cond={"shift": shift})


@every_solver
def test_scale_one_is_conditional_and_zero_unconditional(name):
    table = TABLES[name]
    sample, batches = guided(table, CFG(1.0))
    assert same_bits(sample, plain(table, SHIFT)) and batches == [3] * table.nfe
    sample, batches = guided(table, CFG(0.0))
    assert same_bits(sample, plain(table, torch.zeros(3))) and batches == [3] * table.nfe


@every_solver
@settings(max_examples=settings.default.max_examples // 6)
@given(scales=st.lists(st.floats(-2, 8), min_size=3, max_size=3))
def test_scales_of_the_samples(name, scales):
    """A list, a tensor, one after the other: the same."""
    table = TABLES[name]
    together, _ = guided(table, CFG(scales))
    assert same_bits(guided(table, CFG(torch.tensor(scales, dtype=torch.float64)))[0], together)
    for b, scale in enumerate(scales):
        assert same_bits(guided(table, CFG(scale))[0][b], together[b])


@every_solver
def test_a_guided_model_by_hand(name):
    """u + s (c - u), computed by the model itself in float64."""
    scale, table = 3.5, TABLES[name]

    def mixed(x, t):
        u, c = model(x, t, torch.zeros(3)), model(x, t, SHIFT)
        return u + scale * (c - u)

    x = start(dtype=torch.float64)
    counting = Counting()
    sample = fd.sample(counting, x, table, guidance=CFG(scale), **CONDITIONS)
    assert_within(sample, fd.sample(mixed, x, table), 1e-9)
    for both, times, cond in counting.calls:
        assert same_bits(both[:3], both[3:]) and same_bits(times[:3], times[3:])
        assert torch.equal(cond["shift"], torch.cat((torch.zeros(3), SHIFT)))


@every_solver
def test_interval(name):
    """Guidance inside (lo, hi] of sigma / alpha; outside only the conditional part is asked."""
    table = TABLES[name]
    levels = table.sigma[1:-1] / table.alpha[1:-1]
    lo, hi = np.sort(levels)[[len(levels) // 4, -len(levels) // 3]]
    inside = (levels > lo) & (levels <= hi)
    assert inside.any() and not inside.all()
    sample, batches = guided(table, CFG(3.0, interval=(lo, hi)))
    assert batches == [6 if i else 3 for i in inside]
    per_sample, batches = guided(table, CFG([3.0, 1.0, 3.0], interval=(lo, hi)))
    assert batches == [6 if i else 3 for i in inside]
    assert same_bits(per_sample[::2], sample[::2])
    assert same_bits(per_sample[1], plain(table, SHIFT)[1])
    assert same_bits(guided(table, CFG(3.0, interval=(-1, np.inf)))[0], guided(table, CFG(3.0))[0])
    nowhere, batches = guided(table, CFG(3.0, interval=(-2, -1)))
    assert same_bits(nowhere, plain(table, SHIFT)) and batches == [3] * table.nfe


def test_samples_with_different_intervals_of_rows():
    """Of samples at different noise levels, one inside is enough to ask for both parts."""
    tables = [table_of("DDIM", steps) for steps in (2, 5, 9)]
    guidance = CFG(4.0, interval=(0.3, 3.0))
    counting = Counting()
    sample = fd.sample(counting, start(), tables, guidance=guidance, **CONDITIONS)
    levels = [t.sigma[1:-1] / t.alpha[1:-1] for t in tables]
    for k, (x, _, _) in enumerate(counting.calls):
        wanted = any(k < len(r) and 0.3 < r[k] <= 3.0 for r in levels)
        assert len(x) == (6 if wanted else 3), k
    for b, table in enumerate(tables):
        alone = fd.sample(
            model, start()[b : b + 1], table, guidance=guidance,
            cond={"shift": SHIFT[b : b + 1]}, uncond={"shift": torch.zeros(1)},
        )  # fmt: skip
        assert same_bits(sample[b : b + 1], alone)


@given(
    scales=st.lists(st.floats(-5, 20), max_size=4),
    levels=st.lists(st.one_of(st.floats(0, 100), st.just(np.inf), st.just(np.nan)), max_size=6),
    interval=st.one_of(st.none(), st.tuples(st.floats(0, 5), st.floats(6, 90))),
)
def test_weights(scales, levels, interval):
    w = CFG(scales, interval=interval).weights(np.array(levels), len(scales))
    w = np.broadcast_to(w, (len(levels), len(scales), 2))
    for r, level in enumerate(levels):
        for b, scale in enumerate(scales):
            inside = interval is None or interval[0] < level <= interval[1]
            s = scale if inside else 1.0
            assert w[r, b].tolist() == [1 - s, s]


def test_active():
    table = table_of("DDIM", 4)
    rho = table.sigma[1:-1] / table.alpha[1:-1]

    def active(guidance):
        state, seen = fd.SamplerState(table, start(), guidance=guidance), []
        while not state.done:
            seen.append(state.active)
            state.step(torch.zeros_like(state.model_input))
        return seen

    assert active(None) == [(0,)] * 4
    assert active(CFG(2.0)) == [(0, 1)] * 4
    assert active(CFG(0.0)) == [(0,)] * 4
    assert active(CFG([0.0, 1.0, 0.0])) == [(0, 1)] * 4
    assert active(CFG(2.0, interval=(rho[2], rho[1]))) == [(1,), (0, 1), (1,), (1,)]


def test_outputs_stacked_or_apart():
    table = TABLES["DDIM"]

    def apart(x, t):
        return [part.clone() for part in model(x, t).chunk(2)]

    states = [fd.SamplerState(table, start(), guidance=CFG(2.0)) for _ in range(3)]
    one, two, three = states[0], states[1], states[2]
    assert one.model_input.shape == (6, 7, 5) and one.t.shape == (6,)
    assert same_bits(finish(one), finish(two, apart))
    assert same_bits(finish(three, lambda x, t: tuple(apart(x, t))), one.x)


def test_conditions_that_are_not_tensors():
    """Equal values are passed on once; tensors are stacked, per-sample."""
    seen = Counting(lambda x, t, **cond: x)
    both = {"scale": 2.0, "name": "a", "mask": None}
    table = TABLES["DDIM"]
    fd.sample(seen, start(), table, guidance=CFG(2.0), cond=dict(both), uncond=dict(both))
    assert all(cond == both for _, _, cond in seen.calls)
    with pytest.raises(ValueError, match=r"^uncond\['name'\]: expected a tensor, or the value of"):
        fd.sample(seen, start(), table, guidance=CFG(2), cond=both, uncond={**both, "name": "b"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": np.nan}, "^scale: expected a finite number"),
        ({"scale": [1.0, np.inf]}, "^scale: expected a finite number"),
        ({"scale": [[1.0]]}, "^scale: expected a finite number or one per sample"),
        ({"scale": torch.ones(2, 2)}, "^scale: expected a finite number or one per sample"),
        ({"scale": "big"}, "^scale: expected a number"),
        ({"scale": None}, "^scale: expected a"),
        ({"scale": [1, [2, 3]]}, "^scale: expected a number"),
        ({"scale": 2, "interval": (1, 1)}, "^interval: expected lo < hi"),
        ({"scale": 2, "interval": (2, 1)}, "^interval: expected lo < hi"),
        ({"scale": 2, "interval": (0, np.nan)}, r"^interval: expected \(lo, hi\)"),
        ({"scale": 2, "interval": (0,)}, r"^interval: expected \(lo, hi\)"),
        ({"scale": 2, "interval": 3.0}, r"^interval: expected \(lo, hi\)"),
        ({"scale": 2, "interval": ("a", "b")}, r"^interval: expected \(lo, hi\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        CFG(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": CFG([1.0, 2.0]), "cond": {}}, "^scale: expected 3 .one per sample., got 2"),
        ({"guidance": CFG(2.0), "cond": {"shift": SHIFT}}, "^uncond: expected the keys of cond"),
        ({"guidance": CFG(2.0)}, "^cond: expected the model's keyword arguments"),
        ({"guidance": 2.0}, "^guidance: expected"),
        ({"guidance": CFG}, "^guidance: expected"),
        ({"cond": SHIFT}, "^cond: expected a dict"),
        ({"uncond": [1]}, "^uncond: expected a dict"),
        ({"cond": {"shift": torch.zeros(2)}}, r"^cond\['shift'\]: expected a leading dimension"),
        ({"cond": {"shift": torch.zeros(())}}, r"^cond\['shift'\]: expected a leading dimension"),
        ({"guidance": CFG(2.0), "cond": {"shift": SHIFT}, "uncond": {"shift": torch.zeros(6)}},
         r"^uncond\['shift'\]: expected a leading dimension of 3"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fd.sample(model, start(), TABLES["DDIM"], **options)
