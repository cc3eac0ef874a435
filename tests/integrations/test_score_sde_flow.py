"""The ODE sampler and the likelihood by score_sde's conventions; signatures and errors of both."""

import inspect
import math

import pytest
import torch

from fastdiff import processes
from fastdiff.integrations import score_sde as ours
from tests.integrations.score_sde_cases import (
    DATA,
    EPS,
    SDES,
    SHAPE,
    SUBVP,
    VE,
    VP,
    Model,
    close,
    gaussian,
    identity,
    like_theirs,
    pc_sampler,
    predict,
    score_fn,
    variance,
)


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("family", SDES)
def test_the_flow_of_gaussian_data(family, denoise):
    """x_eps = sqrt(v_eps / v_1) x_1; then one step of reverse diffusion without noise."""
    sde = SDES[family]
    sampler = ours.get_ode_sampler(
        sde, SHAPE, lambda x: 2 * x, denoise, 1e-7, 1e-7, eps=EPS, device="cpu"
    )
    torch.manual_seed(2)
    samples, nfe = sampler(gaussian(sde))
    after = torch.randn(3)
    torch.manual_seed(2)
    latent = torch.randn(*SHAPE) * (sde.sigma_max if sde is VE else 1.0)
    expected = (latent * math.sqrt(variance(sde, EPS) / variance(sde, 1.0))).double()
    if denoise:
        score = score_fn(sde, gaussian(sde), True)
        expected, _ = predict(sde, "reverse_diffusion", score, expected, EPS, 0, False)
    assert torch.equal(after, torch.randn(3))
    assert samples.dtype == torch.float32 and isinstance(nfe, int) and 20 < nfe < 1000
    close(samples / 2, expected)
    again, _ = sampler(gaussian(sde), latent)
    assert torch.equal(again, samples)


def test_tolerances_of_the_ode_sampler():
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).double()
    expected = latent * math.sqrt(variance(VP, EPS) / variance(VP, 1.0))
    errors, counts = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        sampler = ours.get_ode_sampler(
            VP, SHAPE, identity, rtol=tolerance, atol=tolerance, device="cpu"
        )
        samples, nfe = sampler(gaussian(VP), latent)
        errors.append(float((samples - expected).abs().max()))
        counts.append(nfe)
        assert errors[-1] < 10 * tolerance
    assert errors[0] > errors[1] > errors[2] and counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("kind", ["Rademacher", "Gaussian"])
@pytest.mark.parametrize("family", SDES)
def test_likelihood_of_gaussian_data(family, kind):
    """log N(x_1; 0, prior) + sum log(v_1 / v_eps) / 2 is exact for Rademacher probes, since the
    Jacobian is diagonal; for the probe z it is weighted with z^2."""
    sde, eps = SDES[family], 1e-3
    data = DATA**0.5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    fn = ours.get_likelihood_fn(sde, lambda x: (x + 1) / 2, kind, 1e-7, 1e-7, eps=eps)
    torch.manual_seed(4)
    bits, latent, nfe = fn(gaussian(sde), data)
    after = torch.randn(3)
    torch.manual_seed(4)
    probe = torch.randn_like(data) if kind == "Gaussian" else torch.randint_like(data, 0, 2) * 2 - 1
    assert torch.equal(after, torch.randn(3))
    ratio = variance(sde, 1.0) / variance(sde, eps)
    x = data * math.sqrt(ratio)
    close(latent, x.double())
    prior = torch.distributions.Normal(0.0, sde.sigma_max if sde is VE else 1.0)
    # the drift is linear in x: its divergence is the mean of z^2 times the exact one
    change = 0.5 * math.log(ratio) * probe.square().flatten(1).sum(1)
    log_prob = prior.log_prob(x).flatten(1).sum(1) + change
    expected = -log_prob / math.log(2) / data[0].numel() + 7
    torch.testing.assert_close(bits, expected, rtol=0, atol=2e-5)
    assert bits.shape == (3,) and bits.dtype == latent.dtype == torch.float32
    assert isinstance(nfe, int) and nfe > 20


def test_exact_likelihood_in_bits():
    """Unit-variance data stay what they are: -log2 N(x; 0, I) / D, and the width of a level."""
    data = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(data).flatten(1).mean(1)
    for scaler, offset in [(lambda x: (x + 1) / 2, 7), (identity, 8)]:
        fn = ours.get_likelihood_fn(VP, scaler, rtol=1e-9, atol=1e-9, eps=1e-4)
        bits, latent, _ = fn(gaussian(VP, 1.0), data)
        torch.testing.assert_close(bits, -density / math.log(2) + offset, rtol=0, atol=1e-7)
        torch.testing.assert_close(latent, data, rtol=0, atol=1e-7)
        assert latent.dtype == torch.float64 and not latent.requires_grad


def test_there_and_back():
    """The sampler takes the latent of the likelihood to the data."""
    model, data = Model(SUBVP), 0.5 * torch.randn(SHAPE)
    tight = {"rtol": 1e-6, "atol": 1e-6, "eps": EPS}
    _, latent, _ = ours.get_likelihood_fn(SUBVP, identity, **tight)(model, data)
    sampler = ours.get_ode_sampler(SUBVP, SHAPE, identity, device="cpu", **tight)
    back, _ = sampler(model, latent)
    torch.testing.assert_close(back, data, rtol=0, atol=1e-4)


def test_signatures():
    expected = {
        "get_pc_sampler": "(sde, shape, predictor, corrector, inverse_scaler, snr, n_steps=1, "
        "probability_flow=False, continuous=False, denoise=True, eps=0.001, device='cuda')",
        "get_ode_sampler": "(sde, shape, inverse_scaler, denoise=False, rtol=1e-05, atol=1e-05, "
        "method='RK45', eps=0.001, device='cuda')",
        "get_sampling_fn": "(config, sde, shape, inverse_scaler, eps)",
        "get_likelihood_fn": "(sde, inverse_scaler, hutchinson_type='Rademacher', rtol=1e-05, "
        "atol=1e-05, method='RK45', eps=1e-05)",
    }
    for name, signature in expected.items():
        assert str(inspect.signature(getattr(ours, name))) == signature


def test_what_a_model_keeps_stays_as_it_was():
    kept, copies = [], []

    def model(x, labels):
        kept.extend([x, labels])
        copies.extend([x.clone(), labels.clone()])
        return gaussian(VP)(x, labels)

    pc_sampler(VP, "reverse_diffusion", "langevin", continuous=True)(model)
    ours.get_ode_sampler(VP, SHAPE, identity, True, device="cpu")(model)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: pc_sampler("VPSDE", None, None), "sde: expected a VPSDE, subVPSDE or"),
        (TypeError, lambda: ours.sdes.read(processes.RectifiedFlow()), "sde: expected .*Rectified"),
        (TypeError, lambda: ours.sdes.read(like_theirs("VPSDE", N=3)), "attribute beta_0"),
        (
            ValueError,
            lambda: ours.sdes.read(like_theirs("VESDE", sigma_min=1, sigma_max=2, N=0)),
            "N: expected an integer in",
        ),
        (
            ValueError,
            lambda: ours.VPSDE(0.1, 20.0, 20),
            r"N: expected more than beta\(1\) = 20, got 20",
        ),
        (ValueError, lambda: pc_sampler(VP, "euler", None), 'predictor: expected "euler_maruyama"'),
        (ValueError, lambda: pc_sampler(VP, None, int), 'corrector: expected "langevin"'),
        (
            ValueError,
            lambda: pc_sampler(SUBVP, "ancestral_sampling", None),
            "ancestral sampling is for VP and VE",
        ),
        (
            ValueError,
            lambda: pc_sampler(VP, "ancestral_sampling", None, probability_flow=True),
            "probability_flow: expected False",
        ),
        (ValueError, lambda: pc_sampler(VP, None, None, eps=0.0), r"eps: .*\(0, 1\), got 0.0"),
        (TypeError, lambda: pc_sampler(VP, None, None)(3), "model: expected a callable"),
        (
            ValueError,
            lambda: ours.get_ode_sampler(VP, SHAPE, identity, method="RK23"),
            "method: expected \"RK45\", got 'RK23'",
        ),
        (
            ValueError,
            lambda: ours.get_likelihood_fn(VP, identity, "Uniform"),
            'hutchinson_type: expected "Rademacher" or "Gaussian"',
        ),
    ],
)
def test_errors_name_the_argument(error, call, message):
    with pytest.raises(error, match=message):
        call()
