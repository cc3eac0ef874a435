"""The training operations against the native ones: to the bit where the interpreter fuses, but for
rows of logits, which are summed in another order."""

import pytest
import torch
from hypothesis import given

import fastdiff
from fastdiff import noise, ops
from tests.ops import test_training_values as values
from tests.support.helpers import native_only, same_bits
from tests.support.training_cases import LAYOUTS, OPS, call
from tests.triton_ops.probe import FUSES


def check(case):
    got = case.run()
    with fastdiff.backend("reference"):
        expected = case.run()
    dtype = next(v.dtype for v in case.arguments if v.is_floating_point())
    values.assert_agree(got, expected, dtype)
    if ops.native is None or not FUSES or case.name == "categorical":
        return
    with fastdiff.backend("cpu"):
        for a, b in zip(got, case.run(), strict=True):
            assert same_bits(a, b)


@given(case=values.calls)
def test_random_calls(case):
    check(case)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(name, dtype):
    check(call(name, (3, 7), dtype, keys=False))


@pytest.mark.parametrize("name", ["mix", "gaussian_sample", "bernoulli", "categorical"])
def test_several_chunks(name):
    check(call(name, (2, 2500)))


@pytest.mark.parametrize("name", ["mix", "bernoulli", "categorical"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(name, layout):
    case = call(name, (2, 3, 40))
    for a, b in zip(case.changed(LAYOUTS[layout]).run(), case.run(), strict=True):
        assert same_bits(a.contiguous(), b)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (3,)])
def test_nothing_and_single_numbers(name, shape):
    check(call(name, shape))


@native_only
def test_noise_is_that_of_the_keys():
    keys, x = noise.keys(5, 3), torch.zeros(3, 1100)
    pick = torch.tensor([0.0, 1.0, 1.0, 0.0]).expand(3, 4)
    assert same_bits(ops.mix_noise(x, pick, keys)[0], ops.normal(keys, (1100,)))


def test_only_wanted_gradients_are_made():
    for name in ("mix", "squared_error", "gaussian_kl"):
        case = call(name, (2, 9))
        places, everything = case.differentiated(), case.run()
        for k, place in enumerate(places):
            assert same_bits(case.run(wanted=[place])[-1], everything[k - len(places)])


def test_levels_outside_of_the_classes_make_their_sample_nan():
    level, logits = torch.tensor([[0, 5], [1, 2]]), torch.zeros(2, 2, 5, requires_grad=True)
    log_prob = ops.categorical(level, logits)
    log_prob.sum().backward()
    assert log_prob[0].isnan() and logits.grad[0, 1].isnan().all()
    assert log_prob[1].isfinite() and logits.grad[1].isfinite().all()


@pytest.mark.parametrize("classes", [1, 17, 33, 5000])
def test_any_number_of_classes(classes):
    rng = torch.Generator().manual_seed(classes)
    case = call("categorical", (2, 5))
    logits = 9 * torch.randn(2, 5, classes, generator=rng)
    case.arguments = [torch.randint(0, classes, (2, 5), generator=rng), logits]
    check(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", values.EXTREME)
def test_what_overflows_is_infinite(name, dtype):
    values.test_what_overflows_is_infinite(name, dtype, "triton")


def test_no_distance_costs_nothing_however_narrow():
    values.test_no_distance_costs_nothing_however_narrow("triton")
