"""Log-likelihood by probability flow against exact densities, and its stochastic estimates."""

import math

import pytest
import torch

from fastdiff import elbo, noise, schedules
from fastdiff.likelihood import Exact, Hutchinson, dequantise, log_likelihood
from fastdiff.sampling import RK45
from tests.support.oracles import GaussianData, Mixture

SCHEDULE = schedules.LogSNR((-5.0, 2.0))
MIXTURE, GAUSSIAN = Mixture(), GaussianData()
OPTIONS = {"start": 0.0, "end": 1.0, "solver": RK45(1e-9, 1e-9)}


def level(schedule, t):
    return float(schedule.alpha(t)), float(schedule.sigma(t))


def normal_log_prob(x, std=1.0):
    return torch.distributions.Normal(0.0, std).log_prob(x).flatten(1).sum(1)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("divergence", [Exact(), Hutchinson(count=2)])
def test_mixture(columns, divergence):
    """A product of mixtures: its Jacobian is diagonal, so Rademacher probes are exact, too."""
    x = MIXTURE.points.repeat(1, columns) + 0.1 * torch.arange(columns)
    found = log_likelihood(
        MIXTURE.eps_model(SCHEDULE), x, SCHEDULE, divergence=divergence, **OPTIONS
    )
    # Of the model's own density: with the true density of the latent in place of the prior.
    flow = found.log_prob - normal_log_prob(found.latent)
    log_prob = flow + MIXTURE.log_prob(found.latent, *level(SCHEDULE, 1.0))
    expected = MIXTURE.log_prob(x, *level(SCHEDULE, 0.0))
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-7)
    latent = MIXTURE.flow(x, level(SCHEDULE, 0.0), level(SCHEDULE, 1.0))
    torch.testing.assert_close(found.latent, latent, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.VPLinear(),
        schedules.SubVP(),
        schedules.VE(sigma_max=10.0),
        schedules.RectifiedFlow(),
        schedules.DiscreteBetas.linear(),
        schedules.DiscreteBetas.scaled_linear().zero_terminal(),
    ],
    ids=str,
)
def test_gaussian_closed_form(schedule):
    """log N(x_T; 0, I) + 1/2 sum log(v_T / v_0), with x_T by the exact flow."""
    x = torch.tensor([[0.3, -1.2], [0.9, 2.0], [-0.1, 0.4]], dtype=torch.float64)
    times = schedule.t_smallest, schedule.t_largest
    low, high = (level(schedule, t) for t in times)
    v0, v1 = (a**2 * GAUSSIAN.c + s**2 for a, s in (low, high))
    std = math.hypot(*high)
    solver = RK45(1e-8, 1e-8)
    found = log_likelihood(GAUSSIAN.eps_model(schedule), x, schedule, solver=solver)
    latent = GAUSSIAN.flow(x, low, high)
    torch.testing.assert_close(found.latent, latent, rtol=0, atol=1e-6)
    expected = normal_log_prob(latent, std) + math.log(v1 / v0)
    torch.testing.assert_close(found.log_prob, expected, rtol=0, atol=1e-6)
    wide = log_likelihood(
        GAUSSIAN.eps_model(schedule), x, schedule, prior_std=v1**0.5, solver=RK45(1e-3, 1e-3)
    )
    change = normal_log_prob(wide.latent, v1**0.5) - normal_log_prob(wide.latent, std)
    loose = log_likelihood(GAUSSIAN.eps_model(schedule), x, schedule, solver=RK45(1e-3, 1e-3))
    torch.testing.assert_close(wide.log_prob, loose.log_prob + change, rtol=0, atol=1e-6)


MATRIX = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_variance_of_the_estimates(kind):
    n, symmetric = 20_000, (MATRIX + MATRIX.T) / 2
    x = torch.zeros(n, 5, dtype=torch.float64)
    estimate = Hutchinson(kind, seeds=4)
    out, trace = estimate(lambda v: v @ MATRIX.T + 1, x, estimate.probes(x))
    off = symmetric.square().sum() - (symmetric.diag().square().sum() if kind[0] == "r" else 0)
    variance = 2 * float(off)
    assert torch.equal(out, torch.ones_like(x))
    assert abs(trace.mean() - MATRIX.trace()) < 5 * (variance / n) ** 0.5
    kurtosis = float((trace - trace.mean()).pow(4).mean() / trace.var() ** 2)
    assert abs(trace.var() / variance - 1) < 5 * ((kurtosis - 1) / n) ** 0.5


def test_exact_trace():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, trace = Exact()(lambda v: torch.sin(v) @ MATRIX.T, x, None)
    torch.testing.assert_close(trace, torch.cos(x) @ MATRIX.diag())


def rotated(schedule):
    """A correlated Gaussian, N(0, C): its Jacobian is not diagonal."""
    cov = MATRIX @ MATRIX.T / 5 + 0.1 * torch.eye(5, dtype=torch.float64)
    c, axes = torch.linalg.eigh(cov)

    def model(x, t):
        alpha, sigma = (f(t)[:, None] for f in (schedule.alpha, schedule.sigma))
        return (x @ axes) * (sigma / (alpha**2 * c + sigma**2)) @ axes.T

    return model, cov


def test_hutchinson_agrees_on_average():
    model, cov = rotated(SCHEDULE)
    x = torch.tensor([[0.3, -1.0, 0.2, 0.8, -0.4]], dtype=torch.float64).expand(600, 5)
    options = OPTIONS | {"solver": RK45(1e-6, 1e-6)}
    exact = log_likelihood(model, x[:1], SCHEDULE, **options).log_prob
    guesses = log_likelihood(model, x, SCHEDULE, divergence=Hutchinson(seeds=9), **options).log_prob
    assert guesses.std() > 0.1
    assert abs(guesses.mean() - exact) < 5 * guesses.std() / 600**0.5
    more = log_likelihood(
        model, x[:100], SCHEDULE, divergence=Hutchinson(count=16, seeds=9), **options
    ).log_prob
    assert more.std() < 0.4 * guesses.std()  # a quarter, for independent probes


def test_probes_belong_to_the_sample():
    model, _ = rotated(SCHEDULE)
    x = torch.ones(6, 5, dtype=torch.float64) * torch.arange(6)[:, None] / 6
    all_ = log_likelihood(model, x, SCHEDULE, divergence=Hutchinson(seeds=9), **OPTIONS)
    part = log_likelihood(model, x[2:4], SCHEDULE, divergence=Hutchinson(seeds=11), **OPTIONS)
    torch.testing.assert_close(all_.log_prob[2:4], part.log_prob, rtol=1e-12, atol=1e-12)


def test_images_conditions_and_float32():
    def model(x, t, shift):
        assert x.shape == (5, 1, 1, 1) and x.requires_grad
        return MIXTURE.eps_model(SCHEDULE)((x - shift).reshape(5, 1), t).reshape(x.shape)

    x = MIXTURE.points.float().reshape(5, 1, 1, 1)
    options = OPTIONS | {"solver": RK45(1e-5, 1e-5)}
    found = log_likelihood(model, x, SCHEDULE, cond={"shift": 0.0}, **options)
    wide = log_likelihood(MIXTURE.eps_model(SCHEDULE), MIXTURE.points, SCHEDULE, **options)
    assert found.latent.shape == x.shape and found.log_prob.dtype == torch.float64
    torch.testing.assert_close(found.log_prob, wide.log_prob, rtol=0, atol=1e-3)
    assert not found.latent.requires_grad


def test_dequantised_levels_of_a_uniform_density():
    """Uniform over all bins: log2(depth) bits per dimension, and the noise fills the bins."""
    depth = 17
    x = torch.linspace(-1, 1, depth).repeat(2000)[:, None]
    y = dequantise(x, depth, noise.keys(0, len(x)))
    offset = (y - x) * (depth - 1) / 2
    assert offset.abs().max() <= 0.5 and abs(offset.mean()) < 5 * (1 / 12 / len(x)) ** 0.5
    assert offset.var().item() == pytest.approx(1 / 12, rel=0.02)
    width = 2 / (depth - 1)
    log_prob = torch.full((1,), -math.log(depth * width))
    assert elbo.bits_per_dim(-log_prob, 1, width).item() == pytest.approx(math.log2(depth))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Hutchinson("normal"), 'kind: expected "rademacher" or "gaussian"'),
        (lambda: Hutchinson(count=0), "count: expected an integer >= 1, got 0"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()
