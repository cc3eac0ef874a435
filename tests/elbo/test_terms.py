"""The posterior and the terms of the bound against closed forms, float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from fastdiff import elbo, noise, schedules
from fastdiff.losses import discretised_gaussian, gaussian_log_prob
from tests.support.oracles import GaussianData, cubature

SCHEDULES = [
    schedules.VPLinear(),
    schedules.SubVP(),
    schedules.VE(sigma_max=20.0),
    schedules.RectifiedFlow(2.0),
    schedules.LogSNR((-6.0, 4.0)),
    schedules.DiscreteBetas.linear(50),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


@every_schedule
@settings(max_examples=15)
@given(u=st.floats(0.02, 0.9), step=st.floats(1e-3, 0.09), x0=st.floats(-2, 2), z=st.floats(-3, 3))
def test_posterior_by_bayes(schedule, u, step, x0, z):
    """q(x_t | x_s) q(x_s | x0) / q(x_t | x0) is the density of N(a x_t + b x0, var)."""
    span = schedule.t_max - schedule.t_min
    s, t = (scalar(schedule.t_min + v * span) for v in (u, u + step))
    alpha_s, sigma_s = schedule.alpha(s), schedule.sigma(s)
    alpha_t, sigma_t = schedule.alpha(t), schedule.sigma(t)
    q = elbo.posterior(schedule, t, s)
    x_s = alpha_s * x0 + sigma_s * z
    x_t = alpha_t / alpha_s * x_s + q.forward_var.sqrt() * 0.7
    forward_var = sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2
    torch.testing.assert_close(q.forward_var, forward_var, rtol=1e-8, atol=1e-12)
    expected = (
        Normal(alpha_t / alpha_s * x_s, q.forward_var.sqrt()).log_prob(x_t)
        + Normal(alpha_s * x0, sigma_s).log_prob(x_s)
        - Normal(alpha_t * x0, sigma_t).log_prob(x_t)
    )
    got = Normal(q.a * x_t + q.b * x0, q.var.sqrt()).log_prob(x_s)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-8)


def test_posterior_of_ddpm():
    """One step of the table of betas: Ho et al. 2020, eqs. 6 and 7."""
    betas = np.linspace(1e-3, 0.2, 50)
    bar = np.cumprod(1 - betas)
    schedule = schedules.DiscreteBetas(betas)
    for t in (1, 17, 49):
        q = elbo.posterior(schedule, scalar(float(t)), scalar(t - 1.0))
        a = math.sqrt(1 - betas[t]) * (1 - bar[t - 1]) / (1 - bar[t])
        b = math.sqrt(bar[t - 1]) * betas[t] / (1 - bar[t])
        var = betas[t] * (1 - bar[t - 1]) / (1 - bar[t])
        assert [float(v) for v in q] == pytest.approx([a, b, var, betas[t]], rel=1e-11)


@pytest.mark.parametrize("schedule", [schedules.VPCosine(), schedules.RectifiedFlow()])
def test_posterior_at_the_ends(schedule):
    """From pure noise, and to clean data: x0 itself, without noise."""
    q = elbo.posterior(schedule, scalar(1.0), scalar(0.3))
    assert (q.a, q.b) == (0, schedule.alpha(scalar(0.3))) and q.var == schedule.sigma(0.3) ** 2
    q = elbo.posterior(schedule, scalar(0.7), scalar(0.0))
    assert (q.a, q.b, q.var) == (0, 1, 0)


@every_schedule
def test_four_forms_of_the_denoising_term(schedule):
    """Errors of x0, of eps, of the posterior's mean and of the score give one number."""
    span = schedule.t_max - schedule.t_min
    s, t = scalar(schedule.t_min + 0.3 * span), scalar(schedule.t_min + 0.42 * span)
    rng = torch.Generator().manual_seed(0)
    x0, x0_hat, eps = torch.randn((3, 5, 4), generator=rng, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x_t = alpha * x0 + sigma * eps
    q = elbo.posterior(schedule, t, s)
    term = elbo.denoising_kl(x0, x0_hat, q, torch.log(q.var))

    def square(v):
        return v.square().sum(1)

    snr_s, snr_t = torch.exp(2 * schedule.lam(s)), torch.exp(2 * schedule.lam(t))
    eps_hat = (x_t - alpha * x0_hat) / sigma
    gap = 2 * (schedule.lam(s) - schedule.lam(t))
    mean = square((q.a * x_t + q.b * x0) - (q.a * x_t + q.b * x0_hat)) / (2 * q.var)
    forms = {
        "x0": 0.5 * (snr_s - snr_t) * square(x0 - x0_hat),
        "eps": 0.5 * torch.expm1(gap) * square(eps - eps_hat),
        "mean": mean,
        "score": 0.5 * torch.expm1(gap) * sigma**2 * square((eps_hat - eps) / sigma),
    }
    for name, form in forms.items():
        torch.testing.assert_close(term, form, rtol=1e-10, atol=0, msg=name)


@given(r=st.floats(-3, 3), error=st.floats(0, 2))
@settings(max_examples=20)
def test_denoising_term_of_any_variance(r, error):
    q = elbo.Posterior(scalar(0.5), scalar(0.8), scalar(0.09), scalar(0.2))
    x0 = torch.zeros(1, 1, dtype=torch.float64)
    log_var = torch.log(q.var) + r
    got = elbo.denoising_kl(x0, x0 + error, q, log_var)
    p, model = Normal(scalar(0.0), q.var.sqrt()), Normal(q.b * error, torch.exp(log_var / 2))
    torch.testing.assert_close(got[0], torch.distributions.kl_divergence(p, model))


# Gaussian data: expectations of quadratics are sums over cubature points.

DATA = GaussianData(mean=0.4, c=0.3)
BETAS = schedules.DiscreteBetas(np.linspace(1e-3, 0.2, 50))
TIMES = torch.arange(50.0, dtype=torch.float64)


def normal_decoder(x0, mean, log_var):
    return gaussian_log_prob(x0, mean, log_var.to(x0))


def gaussian_bound(variance):
    """E over x0 and eps: the noise of every level may be the same, each term reads but one."""
    points = cubature(2)
    x0 = DATA.mean + DATA.c**0.5 * points[:, :1]
    noises = [points[:, 1:]] * len(TIMES)
    return elbo.bound(
        DATA.denoiser(BETAS), x0, TIMES, noises,
        schedule=BETAS, variance=variance, decoder=normal_decoder,
    )  # fmt: skip


def optimal():
    alpha2, sigma2 = BETAS.alpha(TIMES) ** 2, BETAS.sigma(TIMES) ** 2
    return elbo.Optimal(DATA.c * sigma2 / (alpha2 * DATA.c + sigma2))


def test_optimal_variance_leaves_entropy_and_prior():
    """E[-ELBO] = H(x0) + KL(q(x_T) || N(0, 1))."""
    total = gaussian_bound(optimal()).total.mean().item()
    alpha, v = float(BETAS.alpha(49)), float(BETAS.alpha(49) ** 2 * DATA.c + BETAS.sigma(49) ** 2)
    entropy = 0.5 * math.log(2 * math.pi * math.e * DATA.c)
    prior = 0.5 * (v + (alpha * DATA.mean) ** 2 - 1 - math.log(v))
    assert total == pytest.approx(entropy + prior, rel=1e-12)
    assert total == pytest.approx(0.8173151023511083, rel=1e-12)


@pytest.mark.parametrize(
    ("variance", "value"), [(elbo.Small(), 2.9424209576874407), (elbo.Large(), 0.8288736882659942)]
)
def test_other_variances_cost_more(variance, value):
    """With the best decoder, which leaves the variances of the steps alone to tell them apart."""
    best = optimal()

    def mixed(q, level, fraction):
        return (variance if level else best)(q, level, fraction)

    assert gaussian_bound(mixed).total.mean().item() == pytest.approx(value, rel=1e-12)


def test_small_variance():
    """The last step, whose own variance is zero, takes that of the step above."""
    bound = gaussian_bound(elbo.Small())
    mse, b = optimal().mse, [elbo.Chain(BETAS, TIMES).step(i) for i in range(50)]
    terms = [0.5 * float(q.b**2 / q.var) * float(m) for q, m in zip(b[1:], mse[1:], strict=True)]
    torch.testing.assert_close(bound.table()[1:], torch.tensor(terms).double(), rtol=1e-6, atol=0)
    decoder = Normal(0, elbo.Chain(BETAS, TIMES).step(1).var.sqrt())
    log_p = decoder.log_prob(torch.zeros(())) - 0.5 * mse[0] / decoder.variance
    torch.testing.assert_close(bound.table()[0], -log_p)


def test_bound_is_below_the_log_likelihood():
    """The exact density of the sampler's output, by recursion of mean and variance."""
    chain, mse = elbo.Chain(BETAS, TIMES), optimal()
    mean, var = 0.0, 1.0
    for i in reversed(range(50)):
        q, (alpha, sigma) = chain.step(i), (float(chain.alpha(i)), float(chain.sigma(i)))
        slope = alpha * DATA.c / (alpha**2 * DATA.c + sigma**2)
        gain = float(q.a) + float(q.b) * slope
        mean = gain * mean + float(q.b) * DATA.mean * (1 - slope * alpha)
        var = gain**2 * var + math.exp(float(mse(q, i)))
    x0 = DATA.mean + DATA.c**0.5 * cubature(2)[:, :1]
    likelihood = Normal(mean, var**0.5).log_prob(x0).mean().item()
    total = -gaussian_bound(mse).total.mean().item()
    assert total <= likelihood + 1e-12 and total == pytest.approx(likelihood, abs=1e-2)


def test_learned_range_spans_small_to_large():
    for fraction, end in ((0.0, elbo.Small()), (1.0, elbo.Large())):

        def denoise(x, t, fraction=fraction):
            estimate = DATA.denoiser(BETAS)(x, t)
            return elbo.Estimate(estimate.x0, torch.full_like(x, fraction))

        points = cubature(2)
        noises = [points[:, 1:]] * len(TIMES)
        learned = elbo.bound(
            denoise, points[:, :1], TIMES, noises,
            schedule=BETAS, variance=elbo.LearnedRange(), decoder=normal_decoder,
        )  # fmt: skip
        expected = elbo.bound(
            DATA.denoiser(BETAS), points[:, :1], TIMES, noises,
            schedule=BETAS, variance=end, decoder=normal_decoder,
        )  # fmt: skip
        torch.testing.assert_close(learned.total, expected.total)


def test_more_steps_tighten_the_bound():
    """L_T falls like 1 / T to L_inf = 1/2 log((1 + c snr_max) / (1 + c snr_min))."""
    schedule, points = schedules.LogSNR((-6.0, 4.0)), cubature(2)
    x0 = DATA.mean + DATA.c**0.5 * points[:, :1]
    limit = 0.5 * math.log((1 + DATA.c * math.exp(6)) / (1 + DATA.c * math.exp(-4)))
    excess = []
    for count in (40, 80, 160, 320):
        times = torch.linspace(0, 1, count + 1, dtype=torch.float64)
        bound = elbo.bound(
            DATA.denoiser(schedule), x0, times, [points[:, 1:]] * len(times),
            schedule=schedule, variance=elbo.Small(), decoder=normal_decoder,
        )  # fmt: skip
        excess.append(float(bound.denoising.sum(1).mean()) - limit)
    ratios = np.array(excess[:-1]) / np.array(excess[1:])
    assert (np.array(excess) > 0).all() and ratios[-1] == pytest.approx(2, abs=0.02)


# Interface.


def test_keys_give_every_level_and_sample_its_own_noise():
    seen = []

    def denoise(x, t):
        seen.append((x - BETAS.alpha(t)[:, None] * x0) / BETAS.sigma(t)[:, None])
        return elbo.Estimate(x)

    x0 = torch.zeros(3, 64, dtype=torch.float64)
    keys = noise.keys(1, 3)
    elbo.bound(denoise, x0, TIMES[:4], keys, schedule=BETAS, variance=elbo.Large(),
               decoder=normal_decoder)  # fmt: skip
    drawn = torch.stack(seen)
    assert drawn.std().item() == pytest.approx(1, abs=0.1)
    assert drawn.flatten().unique().numel() == drawn.numel()
    torch.testing.assert_close(
        seen[2][1:2], noise.normal(noise.fold_in(keys[1:2], 2), (64,), dtype=torch.float64)
    )


def test_levels_decoder_sums_to_one():
    levels = torch.linspace(-1, 1, 17, dtype=torch.float64)[:, None]
    log_p = elbo.levels_decoder(17)(levels, torch.full_like(levels, 0.3), scalar(-2.0))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-12)
    assert torch.equal(log_p, discretised_gaussian(levels, 0.3 + 0 * levels, scalar(-2.0), 17))


def test_bits_per_dim():
    assert elbo.bits_per_dim(scalar(64 * math.log(2)), 64) == pytest.approx(1)
    # A uniform density over [-1, 1] on 256 levels is 8 bits: log2(2) + log2(1 / (2 / 256)).
    assert elbo.bits_per_dim(scalar(math.log(2)), 1, 2 / 256) == pytest.approx(8)


@pytest.mark.parametrize("times", [[2.0, 1.0], [[1.0, 2.0]], [], [-1.0, 3.0]])
def test_times_are_checked(times):
    with pytest.raises(ValueError, match="times: expected"):
        elbo.Chain(BETAS, torch.tensor(times))


def test_learned_range_needs_a_network_that_has_it():
    with pytest.raises(ValueError, match="fraction: expected the network's output"):
        gaussian_bound(elbo.LearnedRange())
