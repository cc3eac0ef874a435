"""The training operations on every backend against their float64 reference, and what a sample's
numbers may depend on: itself."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fastdiff
from fastdiff import noise, ops
from tests.support.helpers import CLONES, cpu_clone, native_only, same_bits, thread_count
from tests.support.training_cases import CLASSES, DRAWING, DTYPES, LAYOUTS, OPS, call

shapes = st.one_of(
    st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple),
    st.tuples(st.integers(1, 20), st.integers(1, 40)),
    st.tuples(st.integers(1, 3), st.integers(1, 5000)),
)
calls = st.builds(
    call,
    st.sampled_from(sorted(OPS)),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
    st.booleans(),
)

# Of the largest element: some roundings of float32, and the one of the dtype it is stored in.
TOLERANCE = {
    torch.float32: 4e-6,
    torch.float64: 4e-14,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-10,
}


def assert_agree(got, expected, dtype):
    # A result whose terms cancel has the roundings of its terms, which are like the other results.
    sizes = [float(b.double().abs().max()) for b in expected if b.numel()]
    terms = 0.01 * max((size for size in sizes if math.isfinite(size)), default=0.0)
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        if b.numel():
            largest = max(float(b.double().abs().max()), terms, 1e-30)
            error = float((a.double() - b.double()).abs().max()) / largest
            limit = max(TOLERANCE[a.dtype], TOLERANCE[torch.float32]) if dtype != torch.float64 \
                else TOLERANCE[torch.float64]  # fmt: skip
            assert error <= limit, f"result {k}: {error:.2g} of the largest element"


def reference(case, **options):
    with fastdiff.backend("reference"):
        return case.run(**options)


@native_only
@given(case=calls)
@example(case=call("discretised_gaussian", (1,), torch.float32, 2187, False))
@settings(max_examples=250)
def test_against_the_reference(case):
    dtype = next(v.dtype for v in case.arguments if v.is_floating_point())
    assert_agree(case.run(), reference(case), dtype)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_results(name, dtype):
    """Elementwise results are like the data, sums are float32 or float64, gradients like their
    arguments; all of them contiguous."""
    case = call(name, (2, 3), dtype)
    results = OPS[name].function(*case.arguments)
    results = results if isinstance(results, tuple) else (results,)
    for r in results:
        wide = dtype == torch.float64
        elementwise = r.dim() > 1
        assert r.dtype == (dtype if elementwise else torch.float64 if wide else torch.float32)
    for k, g in zip(case.differentiated(), case.run()[len(results) :], strict=True):
        assert g.dtype == case.arguments[k].dtype and g.shape == case.arguments[k].shape
        assert g.is_contiguous()


@native_only
@given(case=calls, data=st.data())
@settings(max_examples=150)
def test_a_sample_does_not_see_its_batch(case, data):
    if not case.batch:
        return
    whole = case.run()
    order = data.draw(st.permutations(range(case.batch)))[: data.draw(st.integers(1, case.batch))]
    few = case.changed(lambda v: v[order])
    few.cotangents = lambda: case.cotangents()[order]
    for a, b in zip(few.run(), whole, strict=True):
        assert same_bits(a, b[order])


@native_only
@given(case=calls)
@settings(max_examples=100)
def test_clones_and_threads_change_nothing(case):
    expected = case.run()
    for name in CLONES:
        with cpu_clone(name):
            assert all(map(same_bits, case.run(), expected))
    with thread_count(2):
        assert all(map(same_bits, case.run(), expected))


@native_only
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("shape", [(300, 64), (3, 3, 57, 59), (40, 1000)])
def test_threads_change_nothing(name, shape):
    case, results = call(name, shape), []
    for count in (1, 2):
        with thread_count(count):
            results.append(case.run())
    assert all(map(same_bits, *results))


@native_only
@given(case=calls, layout=st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=100)
def test_strides_change_nothing(case, layout):
    expected = case.run()
    for a, b in zip(case.changed(LAYOUTS[layout]).run(), expected, strict=True):
        assert same_bits(a.contiguous(), b)


@native_only
@pytest.mark.parametrize(
    "name", [n for n in OPS if "xx" in OPS[n].arguments and n != "squared_error"]
)
@given(seed=st.integers(0, 99), dims=st.integers(0, 2))
@settings(max_examples=10)
def test_broadcasting(name, seed, dims):
    """What broadcasts is as good as what was expanded; its gradient is summed up."""
    case = call(name, (3, 4, 5), torch.float64, seed)
    last = case.arguments[-1]
    place = len(case.arguments) - 1 - (OPS[name].arguments[-1] == "z")
    small = case.arguments[place][0, : 1 if dims < 2 else 4, : 1 if dims < 1 else 5]
    small = small.reshape(small.shape[2 - dims :] if dims else ())
    case.arguments[place] = small
    full = case.changed(lambda v: v)
    full.arguments[place] = small.expand(3, 4, 5).contiguous()
    assert last.shape[0] == 3
    got, expected = case.run(), full.run()
    for a, b in zip(got, expected, strict=True):
        b = b.sum_to_size(a.shape) if a.shape != b.shape else b
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (64, 30), (7, 33), (3, 127), (2, 5001)])
def test_noise_is_that_of_the_keys(dtype, shape):
    """Bit for bit: the draws in an operation are those of ``fastdiff.noise.normal``."""
    keys = noise.keys(11, shape[0])
    z = noise.normal(keys, shape[1:], dtype=torch.promote_types(dtype, torch.float32)).to(dtype)
    x = call("mix", shape, dtype).arguments[0]
    pick = torch.tensor([0.0, 1.0, 1.0, 0.0]).expand(shape[0], 4)
    drawn, same = ops.mix_noise(x, pick, keys)
    assert same_bits(drawn, z) and same_bits(same, x)
    zero = torch.zeros(shape, dtype=dtype)
    assert same_bits(ops.gaussian_sample_kl(zero, zero, keys)[0], z)


@native_only
@pytest.mark.parametrize("name", DRAWING)
@given(data=st.data())
@settings(max_examples=20)
def test_keys_stand_for_their_normals(name, data):
    """Results and gradients are the same bits whether noise is given or drawn, twice, in passes."""
    shape = data.draw(st.sampled_from([(3, 7), (2, 5000), (50, 64), (9, 200)]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    case = call(name, shape, dtype)
    keys = case.arguments[-1]
    given_noise = call(name, shape, dtype)
    given_noise.arguments[-1] = noise.normal(keys, shape[1:], dtype=dtype)
    places = case.differentiated()
    for a, b in zip(case.run(), given_noise.run(wanted=places), strict=True):
        assert same_bits(a, b)


@given(case=calls, data=st.data())
@settings(max_examples=60)
def test_only_wanted_gradients_are_made(case, data):
    """Whichever are asked for, they are the same."""
    places = case.differentiated()
    wanted = data.draw(st.lists(st.sampled_from(places), unique=True).map(sorted))
    everything = case.run()
    results = len(everything) - len(places)
    picked = everything[:results] + [everything[results + places.index(k)] for k in wanted]
    assert all(map(same_bits, case.run(wanted=wanted), picked))


@native_only
@pytest.mark.parametrize("name", ["discretised_gaussian", "discretised_logistic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(mean=st.floats(-3, 3), width=st.floats(-25, 25))
@settings(max_examples=60)
def test_bins_of_every_width(name, dtype, mean, width):
    """From spikes to plains: log-probabilities within a few roundings of their own size, and
    gradients of theirs."""
    x = torch.linspace(-1, 1, 17, dtype=dtype)[:, None]
    case = call(name, (17, 1), dtype)
    case.arguments = [x, torch.full_like(x, mean), torch.full_like(x, width)]
    for a, b in zip(case.run(), reference(case), strict=True):
        slack = 2e-5 if dtype == torch.float32 else 2e-12
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=slack, atol=slack)


@native_only
@pytest.mark.parametrize("classes", [1, 2, 17, 31, 32, 33, 256, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_classes(classes, dtype):
    rng = torch.Generator().manual_seed(classes)
    level = torch.randint(0, classes, (3, 70), generator=rng)
    logits = (9 * torch.randn(3, 70, classes, generator=rng, dtype=torch.float64)).to(dtype)
    logits[0] += 1e4  # the largest one is taken off
    case = call("categorical", (3, 70), dtype)
    case.arguments = [level, logits]
    assert_agree(case.run(), reference(case), dtype)


@native_only
def test_levels_outside_of_the_classes_are_refused():
    for wrong in (-1, CLASSES):
        with pytest.raises(ValueError, match=rf"level: expected levels in \[0, 5\), got {wrong}"):
            ops.categorical(torch.tensor([[0, wrong]]), torch.zeros(1, 2, CLASSES))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,), (3,)])
def test_nothing_and_single_numbers(name, shape):
    """An empty sum is zero; a sample of a batch without further dimensions is one number."""
    for a, b in zip(call(name, shape).run(), reference(call(name, shape)), strict=True):
        torch.testing.assert_close(a, b)
        if shape == (2, 0) and a.dim() == 1 and a.dtype == torch.float32 and a.shape == (2,):
            assert torch.equal(a, torch.zeros(2))


@native_only
@pytest.mark.parametrize("name", OPS)
def test_nan_stays_nan(name):
    case = call(name, (2, 40))
    place = case.differentiated()[0]
    case.arguments[place] = case.arguments[place].clone()
    case.arguments[place].view(2, -1)[0, 3 if case.arguments[place].dim() > 1 else 0] = torch.nan
    results = case.run(wanted=[])
    assert all(r.reshape(2, -1)[0].isnan().any() for r in results[-1:])
    assert all(r.reshape(2, -1)[1].isfinite().all() for r in results)


EXTREME = {  # and how many times e^v comes out
    "kl": (lambda v: ops.gaussian_kl(0 * v, v, 0 * v, 0 * v), 1),
    "kl to narrow": (lambda v: ops.gaussian_kl(1 + 0 * v, 0 * v, 0 * v, -v), 2),
    "log p": (lambda v: ops.gaussian_log_prob(1 + 0 * v, 0 * v, -v), -1),
    "sample": (lambda v: ops.gaussian_sample_kl(0 * v, v, torch.ones_like(v))[1], 1),
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", EXTREME)
def test_what_overflows_is_infinite(name, dtype, backend):
    """So that a run that diverges is seen to; just before, all is as it was."""
    if fastdiff.ops.select.MISSING[backend]:
        pytest.skip("not here")
    function, times = EXTREME[name]
    fits, over = (87.0, 200.0) if dtype == torch.float32 else (700.0, 1500.0)
    for log_var, finite in ((fits, True), (over, False)):
        v = torch.full((1, 2), log_var, dtype=dtype, requires_grad=True)
        with fastdiff.backend(backend):
            value = function(v)
            (gradient,) = torch.autograd.grad(value.sum(), v)
        assert value.isfinite().all() == gradient.isfinite().all() == finite, (value, gradient)
        assert (times * value > 0).all()
        if finite:
            expected = times * torch.exp(torch.tensor(log_var, dtype=torch.float64))
            torch.testing.assert_close(value.double()[0], expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_no_distance_costs_nothing_however_narrow(backend):
    """0 e^-v at the mean, whatever e^-v."""
    if fastdiff.ops.select.MISSING[backend]:
        pytest.skip("not here")
    zero, v = torch.zeros(1, 1), torch.full((1, 1), -200.0, requires_grad=True)
    x = zero.clone().requires_grad_()
    with fastdiff.backend(backend):
        value = ops.gaussian_log_prob(x, zero, v)
        to_x, to_v = torch.autograd.grad(value.sum(), [x, v])
    assert value.item() == pytest.approx(100 - 0.5 * math.log(2 * math.pi))
    assert to_x.item() == 0 and to_v.item() == -0.5
