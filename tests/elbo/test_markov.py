"""The bound of a chain of latents: a linear-Gaussian chain is exact in every form."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from fastdiff import elbo, noise, schedules
from fastdiff.losses import discretised_gaussian, gaussian_log_prob
from tests.support.oracles import cubature

LEVELS = 6
SCHEDULE = schedules.DiscreteBetas(torch.linspace(0.02, 0.5, LEVELS).double().tolist())
TIMES = torch.arange(LEVELS, dtype=torch.float64)
SLOPES = torch.linspace(0.9, 0.2, LEVELS, dtype=torch.float64)


def linear_denoiser(x, t):
    """Not the Bayes denoiser: the equality of the forms holds for every model."""
    slope = SLOPES[t.round().long()][:, None]
    return elbo.Estimate(slope * x + 0.1 * (1 - slope))


def normal_decoder(x0, mean, log_var):
    return gaussian_log_prob(x0, mean, log_var.to(x0))


def both_forms(x0, chain_noise, level_noise, decoder=normal_decoder):
    settings = {"schedule": SCHEDULE, "variance": elbo.Large(), "decoder": decoder}
    markov = elbo.diffusion_as_markov(linear_denoiser, x0, TIMES, chain_noise, **settings)
    return markov, elbo.bound(linear_denoiser, x0, TIMES, level_noise, **settings)


def test_a_diffusion_model_is_a_hierarchical_vae():
    """Consistency form and denoising form have one expectation: here exact, over all noises."""
    points = cubature(LEVELS)
    x0 = torch.full((len(points), 1), 0.7, dtype=torch.float64)
    noises = list(points.split(1, dim=1))
    markov, bound = both_forms(x0, noises, noises)
    assert markov.total.mean().item() == pytest.approx(bound.total.mean().item(), rel=1e-13)
    torch.testing.assert_close(markov.reconstruction.mean(), bound.reconstruction.mean())


def test_the_averaged_kl_is_not_the_bound():
    """KL(q(x_t | x_{t-1}) || p(x_t | x_{t+1})) averaged over x_{t-1}, x_{t+1} ignores that x_t
    depends on both: it is another number, so the terms have to be log-ratios."""
    points = cubature(LEVELS)
    x0 = torch.full((len(points), 1), 0.7, dtype=torch.float64)
    markov, bound = both_forms(x0, list(points.split(1, dim=1)), list(points.split(1, dim=1)))
    chain, x, latents = elbo.Chain(SCHEDULE, TIMES), x0, []
    conditionals = []
    for i in range(LEVELS):
        below = chain.alpha(i - 1) if i else 1.0
        std = chain.step(i).forward_var.sqrt()
        conditionals.append(Normal(chain.alpha(i) / below * x, std))
        x = conditionals[-1].mean + std * points[:, i : i + 1]
        latents.append(x)
    printed = 0
    for t in range(LEVELS - 1):
        q = chain.step(t + 1)
        x0_hat = linear_denoiser(latents[t + 1], chain.time(t + 1, x0)).x0
        p = Normal(q.a * latents[t + 1] + q.b * x0_hat, q.forward_var.sqrt())
        printed = printed + torch.distributions.kl_divergence(conditionals[t], p)
    assert printed.mean() > markov.consistency.sum(1).mean() + 0.5


def test_the_collapse_holds_for_samples_too():
    """Many samples, discretised decoder: the estimates differ by five standard errors at most."""
    x0 = torch.full((40_000, 1), 0.25, dtype=torch.float64)
    keys = noise.keys(3, len(x0))
    chain_noise = [noise.fold_in(keys, 100 + i) for i in range(LEVELS)]

    def decoder(x0, mean, log_var):
        return discretised_gaussian(x0, mean, log_var.to(x0), 17)

    markov, bound = both_forms(x0, chain_noise, keys, decoder)
    gap = markov.total.mean() - bound.total.mean()
    error = math.sqrt((markov.total.var() + bound.total.var()) / len(x0))
    assert abs(gap) < 5 * error


# A linear-Gaussian hierarchical VAE: the marginal likelihood is a Gaussian.

W = torch.tensor([[0.8, -0.5], [0.3, 1.1], [-0.6, 0.2]], dtype=torch.float64)  # z_1 -> x
V = torch.tensor([[0.7, 0.4], [-0.9, 0.5]], dtype=torch.float64)  # z_2 -> z_1


def conditional(matrix, log_var, shift=0.0):
    def apply(z):
        mean = z @ matrix.T + shift
        return mean, torch.full_like(mean, log_var)

    return apply


def likelihood_of(x):
    return lambda z: gaussian_log_prob(x, z @ W.T, torch.tensor(-1.0, dtype=torch.float64))


def test_bound_and_exact_posterior():
    """The gap is KL(q || p(z | x)): zero for the exact posterior, which is Gaussian."""
    x = torch.tensor([[0.4, -1.0, 0.9]], dtype=torch.float64)
    cov_1 = V @ V.T + math.exp(-0.5) * torch.eye(2, dtype=torch.float64)
    cov_x = W @ cov_1 @ W.T + math.exp(-1.0) * torch.eye(3, dtype=torch.float64)
    log_x = MultivariateNormal(torch.zeros(3).double(), cov_x).log_prob(x).item()

    def posterior(prior_cov, matrix, noise_var):
        """z | y of y = matrix z + noise."""
        gain = prior_cov @ matrix.T @ (
            matrix @ prior_cov @ matrix.T + noise_var * torch.eye(len(matrix), dtype=torch.float64)
        ).inverse()  # fmt: skip
        return gain, prior_cov - gain @ matrix @ prior_cov

    gain_1, post_1 = posterior(cov_1, W, math.exp(-1.0))
    gain_2, post_2 = posterior(torch.eye(2, dtype=torch.float64), V, math.exp(-0.5))
    # The estimator takes diagonal Gaussians: rotate both latents into their posteriors' axes.
    var_1, axes_1 = torch.linalg.eigh(post_1)
    var_2, axes_2 = torch.linalg.eigh(post_2)
    points = cubature(4)
    data = x.expand(len(points), 3)
    encoders = [
        lambda y: (y @ gain_1.T @ axes_1, var_1.log().expand(len(y), 2)),
        lambda z: (z @ axes_1.T @ gain_2.T @ axes_2, var_2.log().expand(len(z), 2)),
    ]

    def decoder(z):  # p(z_1 | z_2) in the rotated axes stays isotropic
        mean = z @ axes_2.T @ V.T @ axes_1
        return mean, torch.full_like(mean, -0.5)

    def likelihood(z):
        return likelihood_of(data)(z @ axes_1.T)

    def total(encoders):
        noises = [points[:, :2], points[:, 2:]]
        return -elbo.markov_bound(data, encoders, [decoder], likelihood, noises).total.mean().item()

    assert total(encoders) == pytest.approx(log_x, rel=1e-12)
    worse = [conditional(0.3 * torch.ones(2, 3).double(), -1.0), encoders[1]]
    assert total(worse) < log_x - 0.1


def test_importance_weights_tighten_the_bound():
    """One latent, K samples: increasing in K on average, with the likelihood as its limit."""
    x = torch.tensor([[0.4, -1.0, 0.9]], dtype=torch.float64)
    cov = W @ W.T + math.exp(-1.0) * torch.eye(3, dtype=torch.float64)
    log_x = MultivariateNormal(torch.zeros(3).double(), cov).log_prob(x).item()
    rng = torch.Generator().manual_seed(0)
    z = 0.9 * torch.randn((4096, 50, 2), generator=rng, dtype=torch.float64)
    zero = torch.zeros_like(z.flatten(0, 1))

    def log_normal(v, log_var):
        return gaussian_log_prob(v, zero, torch.tensor(log_var, dtype=torch.float64))

    flat = z.flatten(0, 1)
    log_w = likelihood_of(x.expand(len(flat), 3))(flat) + log_normal(flat, 0.0)
    log_w = (log_w - log_normal(flat, 2 * math.log(0.9))).reshape(4096, 50)

    def bound(k):
        groups = log_w.reshape(4096 // k, k, 50).transpose(1, 2).reshape(-1, k)
        return elbo.importance_weighted(groups.T).mean().item()

    bounds = [bound(k) for k in (1, 4, 16, 256, 4096)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(log_x, abs=0.02)
    torch.testing.assert_close(elbo.importance_weighted(log_w[:1]), log_w[0])


def test_lengths_are_checked():
    x = torch.zeros(2, 3).double()
    encoder = conditional(torch.zeros(2, 3).double(), 0.0)
    with pytest.raises(ValueError, match="expected T, T - 1 and T, got 1, 1 and 1"):
        elbo.markov_bound(x, [encoder], [encoder], likelihood_of(x), [x])
