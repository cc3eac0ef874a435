"""The forward process of every fused scheduler: a timestep for each sample."""

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.twins import NAMES, distance, having, pair, plain, widened

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

STEPS, BATCH = 6, 5
METHODS = ("add_noise", "scale_noise", "get_velocity")
ALL = [(name, method) for name in NAMES for method in METHODS if name in having(method)]

every = pytest.mark.parametrize(("name", "method"), ALL)


def call(scheduler, method, samples, noise, timesteps):
    arguments = (samples, timesteps, noise) if method == "scale_noise" else (
        samples, noise, timesteps,
    )  # fmt: skip
    return getattr(scheduler, method)(*arguments)


def tensors(dtype=torch.float32, shape=(BATCH, 3, 4, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return tuple(value.to(dtype) for value in draw)


def timesteps_for(scheduler, name):
    """Some of the timesteps that are there, one of them twice."""
    if name.startswith("DDPMW"):
        return torch.tensor([0.9, 0.2, 0.5, 0.2, 0.0])
    order = scheduler.timesteps
    if hasattr(scheduler, "sigmas") and not hasattr(scheduler, "get_velocity"):
        return order[[1, 0, 3, 1, len(order) - 1]]
    if hasattr(scheduler, "alphas_cumprod") and not hasattr(scheduler, "sigmas"):
        return torch.tensor([999, 0, 512, 7, 512])
    return order[[1, 0, 3, 1, len(order) - 1]].clone()


def outcome(*arguments):
    """(value, None), or (None, the class of the error)."""
    try:
        return call(*arguments), None
    except Exception as error:
        return None, type(error)


@every
def test_each_sample_has_a_timestep(name, method):
    stock, ours = pair(name, plain(name), STEPS)
    timesteps = timesteps_for(stock, name)
    samples, noise = tensors()
    wanted, refusal = outcome(stock, method, samples, noise, timesteps)
    value, refused = outcome(ours, method, samples, noise, timesteps)
    assert refused == refusal
    if wanted is not None:
        assert value.dtype == wanted.dtype and value.shape == wanted.shape
        assert distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@every
def test_other_dtypes_are_no_further_from_the_truth(name, method, dtype):
    stock, ours = pair(name, plain(name), STEPS)
    exact, timesteps = widened(stock), timesteps_for(stock, name)
    samples, noise = tensors(dtype)
    wanted, refusal = outcome(stock, method, samples, noise, timesteps)
    if refusal or dtype == torch.float64 and wanted.dtype != dtype:
        pytest.skip("the stock scheduler does not")
    value = call(ours, method, samples, noise, timesteps)
    truth = call(exact, method, samples.double(), noise.double(), timesteps).double()
    slack = 1e-6 if dtype != torch.float64 else 1e-12
    slack *= max(1.0, float(truth.abs().max()))
    assert value.dtype == wanted.dtype
    assert ((value - truth).abs() <= (wanted - truth).abs() + slack).all()


@pytest.mark.parametrize("stepped", [False, True], ids=["begin", "middle"])
@pytest.mark.parametrize(
    ("name", "method"), [c for c in ALL if hasattr(fused.SCHEDULERS[c[0]], "set_begin_index")]
)
def test_the_level_is_that_where_the_sampling_is(name, method, stepped):
    """For images that are made from others: the timesteps that are given do not matter."""
    values = []
    for scheduler in pair(name, plain(name), STEPS):
        scheduler.set_begin_index(2)
        scheduler._step_index = 3 if stepped else None
        samples, noise = tensors()
        told = scheduler.timesteps[:1].repeat(BATCH)
        values.append(outcome(scheduler, method, samples, noise, told))
    (wanted, refusal), (value, refused) = values
    assert refused == refusal
    assert refusal or distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))


@every
def test_timesteps_that_are_not_there(name, method):
    stock, ours = pair(name, plain(name), STEPS)
    samples, noise = tensors()
    timesteps = torch.full((BATCH,), 123456.0 if stock.timesteps.is_floating_point() else 123456)
    wanted, refusal = outcome(stock, method, samples, noise, timesteps)
    value, refused = outcome(ours, method, samples, noise, timesteps)
    assert refused == refusal
    assert refusal or distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))


@every
def test_new_tables_are_noticed(name, method):
    """Setting other timesteps, or a table by hand, between two calls."""
    stock, ours = pair(name, plain(name), STEPS)
    samples, noise = tensors()
    first = timesteps_for(stock, name)
    call_ours = outcome(ours, method, samples, noise, first)
    for scheduler in (stock, ours):
        if hasattr(scheduler, "alphas_cumprod"):
            scheduler.alphas_cumprod = scheduler.alphas_cumprod * 0.9
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = scheduler.sigmas * 0.9
            scheduler.timesteps = scheduler.timesteps.flip(0)
    wanted, refusal = outcome(stock, method, samples, noise, first)
    value, refused = outcome(ours, method, samples, noise, first)
    assert refused == refusal and (call_ours[1] is None or refusal)
    assert refusal or distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))


@every
def test_gradients_go_through(name, method):
    stock, ours = pair(name, plain(name), STEPS)
    timesteps, gradients = timesteps_for(stock, name), []
    for scheduler in (stock, ours):
        samples, noise = (value.requires_grad_() for value in tensors())
        value, refusal = outcome(scheduler, method, samples, noise, timesteps)
        if refusal:
            pytest.skip("the stock scheduler does not")
        value.square().sum().backward()
        gradients.append((samples.grad, noise.grad))
    for one, other in zip(*gradients, strict=True):
        assert distance(one, other) <= 1e-5 * max(1.0, float(one.abs().max()))


@every
def test_no_noise_dimension_is_lost(name, method):
    """One level for a whole batch, samples of two dimensions, samples that are not contiguous."""
    stock, ours = pair(name, plain(name), STEPS)
    timesteps = timesteps_for(stock, name)
    flat = tensors(shape=(BATCH, 7))
    turned = tuple(value.transpose(1, 3) for value in tensors())
    cases = [(*flat, timesteps), (*turned, timesteps), (*tensors(), timesteps[:1])]
    for arguments in cases:
        wanted, refusal = outcome(stock, method, *arguments)
        value, refused = outcome(ours, method, *arguments)
        assert refused == refusal
        if not refusal:
            assert value.shape == wanted.shape
            assert distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))
