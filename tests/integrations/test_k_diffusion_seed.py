"""``extra_args["seed"]`` seeds the default noise, as in interfaces on top of k-diffusion."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import SAMPLERS, SDE, SHAPE, arguments, denoiser, start

NOISY = [
    name
    for name in SAMPLERS
    if "noise_sampler" in inspect.signature(getattr(ours, f"sample_{name}")).parameters
]
every_noisy = pytest.mark.parametrize("name", NOISY)


def model(y, sigma, seed=None):
    return denoiser(y, sigma)


def run(module, kd, name, seed=None, dtype=torch.float32, **options):
    extra = {} if seed is None else {"extra_args": {"seed": seed}}
    if name in ("dpm_fast", "dpm_adaptive"):
        options["eta"] = 1.0
    x = start(10.0, dtype)
    function = getattr(module, f"sample_{name}")
    return function(model, x, *arguments(kd, name, 4), disable=True, **extra, **options)


def seeded(kd, name, seed):
    """What ComfyUI seeds: a generator of the device, on the CPU by one more, or the tree."""
    if name in SDE:
        return kd.BrownianTreeNoiseSampler(torch.zeros(SHAPE), 0.1, 10.0, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return lambda sigma, after: torch.randn(SHAPE, generator=generator)


@every_noisy
def test_one_seed_gives_the_same_samples(kd, name):
    outs = []
    for elsewhere, seed in ((1, 7), (2, 7), (2, 8)):
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        outs.append(run(ours, kd, name, seed))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])


@pytest.mark.filterwarnings("ignore:Should have t[ab].=t[01]:UserWarning")  # stock's own rounding
@every_noisy
def test_the_numbers_of_that_seed(kd, name):
    if name in SDE and not hasattr(kd.torchsde, "BrownianTree"):
        pytest.skip("torchsde is not installed")
    expected = run(kd, kd, name, noise_sampler=seeded(kd, name, 7))
    tolerance = 1e-2 if name in SDE else 1e-4  # stock asks its tree at rounded levels
    torch.testing.assert_close(run(ours, kd, name, 7), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_in_the_dtype_of_x(kd, dtype):
    noise = ours.noise.independent(torch.zeros(SHAPE, dtype=dtype), 7)(1.0, 0.5)
    expected = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8), dtype=dtype)
    assert torch.equal(noise, expected.to(noise.dtype))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(-(2**63), 2**64 - 2))
def test_every_seed_of_torch(seed):
    x = torch.zeros(700)
    expected = torch.randn(700, generator=torch.Generator().manual_seed(seed + 1))
    assert torch.equal(ours.noise.independent(x, seed)(1.0, 0.5), expected)


@pytest.mark.parametrize("name", SDE)
def test_a_seed_for_each_sample(kd, name):
    """As ``BrownianTreeNoiseSampler`` has it: a sample alone is the same."""
    both = run(ours, kd, name, [4, 9])
    alone = getattr(ours, f"sample_{name}")(
        model, start(10.0)[1:], *arguments(kd, name, 4), {"seed": [9]}, disable=True
    )
    torch.testing.assert_close(both[1:], alone)


@every_noisy
def test_a_noise_sampler_that_is_given_comes_first(kd, name):
    plain, with_seed = (
        run(ours, kd, name, seed, noise_sampler=seeded(kd, name, 3)) for seed in (None, 5)
    )
    assert torch.equal(plain, with_seed)


@every_noisy
def test_what_is_no_seed(kd, name):
    with pytest.raises(TypeError, match=r'extra_args\["seed"\]: expected an integer, got float'):
        run(ours, kd, name, 7.5)


@every_noisy
def test_without_torchsde(kd, name, monkeypatch):
    monkeypatch.setattr(ours.noise.importlib.util, "find_spec", lambda name: None)
    test_one_seed_gives_the_same_samples(kd, name)
