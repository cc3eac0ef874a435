"""step_: the native kernel against the reference, on random calls."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.ops import reference
from fastdiff.row import COLUMN, HISTORY
from tests.support.helpers import CLONES, cpu_clone, native_only, thread_count
from tests.support.step_bounds import assert_close, assert_input_is_scaled_state, with_native_noise
from tests.support.step_cases import Case, assert_same, cases, lay_out, random_rows

pytestmark = native_only
NOISE = [COLUMN[name] for name in ("c_z", "c_zp", "d_z", "d_zp", "k_z")]


def check(case):
    before = case.copy()
    given_noise = with_native_noise(before)
    expected = given_noise.copy().run(reference.step_)
    results = []
    for name in CLONES:
        with cpu_clone(name):
            results.append(case.copy().run())
        assert_same(results[-1], results[0], name)
    assert_close(results[0], expected, given_noise)
    assert_input_is_scaled_state(results[0], before)


@settings(max_examples=300)
@given(case=cases())
def test_native_is_the_reference(case):
    check(case)


@given(case=cases(drawn=st.just(True)))
def test_noise_of_the_reference(case):
    """With the reference's own draws, which differ from the native ones by rounding."""
    expected = case.copy().run(reference.step_)
    amount = case.rows[:, NOISE].abs().double().sum(dim=1).max()
    if case.gain is not None and case.gain.numel():
        exponent = case.rows[:, [COLUMN["g_0"], COLUMN["g_1"]]].double().abs()
        gain = case.gain.double().abs().max()
        amount = amount * torch.exp(exponent[:, 0] + exponent[:, 1] * gain).max()
    assert_close(case.copy().run(), expected, with_native_noise(case), 1e-6 * float(amount))


@pytest.mark.parametrize(
    "shape",
    [
        (1, 2**19 + 3),
        (2, 3, 201, 199),
        (30_001, 5),
        (1, 2**22 + 3),
        (300_001, 7),
    ],
)
@pytest.mark.covered(times=1)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_large(shape, layout):
    g = torch.Generator().manual_seed(len(shape))
    batch, rest = shape[0], shape[1:]
    rows = random_rows(2, 0.3, g, clip=(-1.0, 1.0), slots=2)

    def randn(*size, dtype=torch.float32):
        return torch.randn(size, generator=g).to(dtype)

    check(
        Case(
            {
                "x": randn(*shape),
                "row": torch.arange(batch) % 2,
                "rows": rows,
                "outputs": [lay_out(randn(2 * batch, *rest, dtype=torch.bfloat16), layout)],
                "weights": torch.tensor([[[-1.5, 2.5]]]).expand(3, batch, 2),
                "keys": torch.arange(2 * batch).reshape(batch, 2),
                "saved": randn(*shape),
                "history": randn(2, *shape),
                "z": None,
                "z_prev": None,
                "model_input": randn(2 * batch, *rest, dtype=torch.bfloat16),
                "t": torch.zeros(2 * batch),
            },
        )
    )


@given(case=cases())
def test_finished_samples_are_left_alone(case):
    case.row.fill_(len(case.rows) - 1)
    poison = {name: torch.full_like(case.x, torch.nan) for name in ("z", "z_prev")}
    case.arguments |= poison
    case.arguments["outputs"] = [torch.full_like(o, torch.nan) for o in case.outputs]
    for op in (None, reference.step_):
        assert_same(case.copy().run(op), case)


@given(case=cases(), data=st.data())
def test_a_sample_does_not_see_its_batch(case, data):
    """Alone, or anywhere in a batch in any order: the same bits."""
    together = case.copy().run()
    for b in range(len(case.x)):
        assert_same(case.sample(b).run(), together.sample(b), f"sample {b}")
    if len(case.x):
        order = data.draw(st.lists(st.integers(0, len(case.x) - 1), min_size=1, max_size=6))
        mixed = _gather(case, order).run()
        for position, b in enumerate(order):
            assert_same(mixed.sample(position), together.sample(b), f"sample {b}")


def _gather(case, order):
    """The call for a batch of the samples ``order``, outputs stacked."""
    ones = [case.sample(b) for b in order]
    count = 1 if case.weights is None else case.weights.shape[2]
    joined = {"rows": case.rows}
    single = ("x", "row", "keys", "saved", "z", "z_prev", "gain", "known", "mask")
    single += ("x_in", "x_out", "x0_out")
    for name in single:
        value = getattr(case, name)
        joined[name] = None if value is None else torch.cat([getattr(o, name) for o in ones])
    for name, dim in (("history", 1), ("weights", 1), ("second_weights", 1)):
        value = getattr(case, name)
        joined[name] = None if value is None else torch.cat([getattr(o, name) for o in ones], dim)
    for name in ("model_input", "t"):
        parts = [getattr(o, name) for o in ones]
        joined[name] = None if parts[0] is None else torch.cat(
            [p[g : g + 1] for g in range(count) for p in parts]
        )  # fmt: skip
    outputs = (
        [torch.cat([o.outputs[g] for o in ones]) for g in range(count)] if case.outputs else []
    )
    return Case({**joined, "outputs": outputs})


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("shape", [(1, 200_001), (5, 3, 111, 113), (3001, 7)])
def test_threads_change_nothing(clone, shape):
    g = torch.Generator().manual_seed(0)
    batch = shape[0]
    rows = random_rows(3, 0.2, g)
    arguments = {
        "x": torch.randn(shape, generator=g),
        "row": torch.arange(batch) % 4,
        "rows": rows,
        "outputs": [torch.randn(shape, generator=g)],
        "weights": None,
        "keys": torch.arange(2 * batch).reshape(batch, 2),
        "saved": torch.randn(shape, generator=g),
        "history": torch.randn((HISTORY, *shape), generator=g),
        "z": None,
        "z_prev": None,
        "model_input": torch.zeros(shape),
        "t": torch.zeros(batch),
    }
    results = []
    for count in (1, 2):
        with thread_count(count), cpu_clone(clone):
            results.append(Case(arguments).copy().run())
    assert_same(*results)
