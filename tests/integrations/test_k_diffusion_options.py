"""Options at and beyond their usual range, no samples at all, and the last step of multistep."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import (
    SAMPLERS,
    SDE,
    arguments,
    assert_alike,
    denoiser,
    every_sampler,
    grid,
    sample,
    start,
)
from tests.support import pages


def has(name, option):
    return option in inspect.signature(getattr(ours, f"sample_{name}")).parameters


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)], ids=str)
@every_sampler
def test_no_samples(kd, name, shape):
    """The model and the callback are called as ever, with nothing."""
    called, outs = [[], []], []
    for module, log in zip((ours, kd), called, strict=True):

        def model(y, sigma, log=log):
            log.append((y.shape, sigma.shape))
            return y

        def callback(info, log=log):
            log.append(("callback", info["i"], info["x"].shape, info["denoised"].shape))

        options = {}
        if has(name, "noise_sampler"):
            options["noise_sampler"] = lambda sigma, after: torch.zeros(shape)
        call = getattr(module, f"sample_{name}")
        call = call, (model, torch.zeros(shape), *arguments(kd, name))
        if name == "dpm_adaptive" and module is ours:  # stock attempts its steps for ever
            with pytest.raises(ValueError) as error:
                call[0](*call[1], None, callback, True, **options)
            text = "expected numbers whose error sets the steps"
            assert f"x: {text}, got" in str(error.value) and text in SECTION
            return
        if name != "dpm_adaptive":
            outs.append(call[0](*call[1], None, callback, True, **options))
    assert outs[0].shape == outs[1].shape == shape
    assert called[0] == called[1]


ETAS = [n for n in SAMPLERS if has(n, "eta") and n not in ("dpmpp_sde", "dpm_adaptive")]


@pytest.mark.parametrize("name", ETAS)
@pytest.mark.parametrize("eta", [1.05, 1.5, 4.0])
def test_more_noise_than_the_posteriors(kd, name, eta):
    if name == "dpm_2_ancestral" and eta > 1.05:
        pytest.skip("see the next test")
    sigmas = (torch.linspace(10.0, 2.0, 5),) if name != "dpm_fast" else (0.1, 10.0, 7)
    mine, stock = (sample(m, name, start(10.0), *sigmas, given=True, eta=eta) for m in (ours, kd))
    assert_alike(mine, stock)


def test_all_noise_anew_in_dpm_2_ancestral(kd):
    """k-diffusion then leaves it out and lands on clean data; the model is told another level."""
    sigmas, levels = torch.tensor([10.0, 4.0, 2.0]), []

    def callback(info):
        levels.append(float(info["x"].std()) / float(info["sigma"]))

    for module in (ours, kd):
        x = 10 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        module.sample_dpm_2_ancestral(lambda y, s: 0 * y, x, sigmas, None, callback, True, 4.0)
    assert levels == pytest.approx([1.0, 1.0, 1.0, 0.0], abs=0.05)


@pytest.mark.parametrize("kind", ["zero", "above"])
def test_the_second_evaluation_at_the_end_of_the_step(kd, kind):
    sigmas = grid(kd, 5, kind)
    for options in ({}, {"eta": 0.5}, {"eta": 0.0}):
        mine, stock = (
            sample(m, "dpmpp_sde", start(sigmas[0]), sigmas, given=True, r=1.0, **options)
            for m in (ours, kd)
        )
        assert_alike(mine, stock)


@pytest.mark.parametrize(("order", "steps"), [(5, 8), (6, 3), (10, 5), (4, 1)])
def test_the_order_of_lms(kd, order, steps):
    """As many outputs as there are; above five an order is only a bound."""
    sigmas = grid(kd, steps).double()
    x = start(sigmas[0], torch.float64)
    mine, stock = (sample(m, "lms", x, sigmas, order=order) for m in (ours, kd))
    assert_alike(mine, stock, 1e-6)  # its quadrature


levels = st.lists(st.floats(0.05, 20.0), min_size=2, max_size=6, unique=True).filter(
    lambda v: min(abs(a / b - 1) for a in v for b in v if a != b) > 0.02
)


@pytest.mark.parametrize("name", [n for n in SAMPLERS if has(n, "sigmas")])
@settings(max_examples=12, deadline=None)
@given(
    values=levels, clean=st.booleans(), eta=st.floats(0.0, 1.0), s_noise=st.floats(0.5, 1.5),
    churn=st.floats(0.0, 20.0),
)  # fmt: skip
def test_any_levels_and_options(kd, name, values, clean, eta, s_noise, churn):
    values = sorted(values, reverse=True) + [0.0] * clean
    if name in SDE and len(values) == 2 and clean:
        return  # stock raises UnboundLocalError
    sigmas = torch.tensor(values, dtype=torch.float64)
    offered = {"eta": eta, "s_noise": s_noise, "s_churn": churn}
    options = {option: value for option, value in offered.items() if has(name, option)}
    given_noise = has(name, "noise_sampler")
    x = start(sigmas[0], torch.float64)
    mine, stock = (sample(m, name, x, sigmas, given=given_noise, **options) for m in (ours, kd))
    assert_alike(mine, stock, 1e-5 if name == "lms" else 1e-6)


@pytest.mark.parametrize("order", [1, 4])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_the_last_step_of_lms(kd, order, steps):
    """What the model returns there, after the steps of k-diffusion."""
    sigmas = grid(kd, steps)
    x, _ = sample(kd, "lms", start(10.0), sigmas[:-1], order=order)
    expected = denoiser(x, sigmas[-2:-1].expand(2), 0.3)
    found, _ = sample(ours, "lms", start(10.0), sigmas, order=order, final_denoise=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    plain, _ = sample(ours, "lms", start(10.0), sigmas, order=order)
    assert torch.equal(plain, found) == (min(order, steps) == 1)
    above = [
        sample(ours, "lms", start(10.0), sigmas[:-1], order=order, final_denoise=final)[0]
        for final in (False, True)
    ]
    assert torch.equal(*above)


SECTION = pages.sections(pages.read("replace-your-loop.md"))["k-diffusion"]
PAGE_ERRORS = [
    ([10.0, 10.0, 1.0], {}, "expected finite, strictly decreasing (or increasing) noise levels"),
    ([10.0, 1.0, 5.0], {}, "expected finite, strictly decreasing (or increasing) noise levels"),
    ([1.0, 10.0], {"eta": 1.0}, "expected to decrease for"),
    ([1.0, 10.0], {"s_churn": 5.0}, "expected to decrease for"),
    ([10.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.5], {"order": 6}, "order must be 1, 2, 3, 4 or 5, got 6"),
    ([10.0, 1.0], {"eta": 1.5, "r": 0.5}, "eta must be a number in [0, 1], got 1.5"),
    ([10.0, 1.0], {"r": 1.5}, "r must be a number in [0, 1], got 1.5"),
]


@pytest.mark.parametrize(("values", "options", "text"), PAGE_ERRORS, ids=str)
def test_what_is_refused_is_on_the_page(values, options, text):
    refused = 0
    for name in SAMPLERS:
        if has(name, "sigmas") and all(has(name, option) for option in options):
            with pytest.raises(ValueError) as error:
                getattr(ours, f"sample_{name}")(
                    denoiser, start(1.0), torch.tensor(values), disable=True, **options
                )
            assert text in str(error.value)
            refused += 1
    assert refused and text in SECTION
