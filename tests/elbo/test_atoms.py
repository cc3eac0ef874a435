"""Discrete data: the bound of atoms with their Bayes denoiser is their entropy, plus small change.

One dimension, so that every expectation over the noise is a Gauss-Hermite sum.
"""

import math

import numpy as np
import pytest
import torch

from fastdiff import elbo, losses, schedules

LEVELS = torch.linspace(-1, 1, 8, dtype=torch.float64)
P = torch.tensor([1, 5, 2, 9, 3, 3, 7, 2], dtype=torch.float64) / 32
Q = torch.tensor([4, 4, 4, 4, 4, 4, 4, 4], dtype=torch.float64) / 32
SCHEDULE = schedules.LogSNR((-13.3, 5.0))
NODES, WEIGHTS = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def posterior(x, t, pmf):
    """p(x0 = level | x_t), [..., 8]."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    logits = torch.log(pmf) - 0.5 * ((x[..., None] - alpha * LEVELS) / sigma) ** 2
    return torch.softmax(logits, -1)


def diffusion_term(pmf):
    """E over data ~ P of 1/2 int gamma' ||eps - eps_hat||^2 with the denoiser of ``pmf``."""
    nodes, gauss = np.polynomial.legendre.leggauss(400)
    t = torch.tensor(0.5 * (nodes + 1))
    grid = torch.cartesian_prod(torch.arange(8), torch.arange(60))
    x0, eps = LEVELS[grid[:, 0], None], NODES[grid[:, 1], None]
    weight = P[grid[:, 0]] * WEIGHTS[grid[:, 1]]

    def model(x, time):
        return (posterior(x, time[0], pmf) * LEVELS).sum(-1)

    per_time = [
        weight
        @ losses.denoising_loss(
            model, x0, time.expand(len(x0)), eps,
            schedule=SCHEDULE, prediction="x0", weight=losses.weights.ELBO(),
        )
        for time in t
    ]  # fmt: skip
    return 0.5 * float(torch.tensor(gauss) @ torch.stack(per_time))


def reconstruction():
    """-E log p(x0 | z_0) of the decoder softmax(-1/2 ((z - alpha e) / sigma)^2)."""
    t = torch.zeros((), dtype=torch.float64)
    z = SCHEDULE.alpha(t) * LEVELS[:, None] + SCHEDULE.sigma(t) * NODES
    log_p = torch.log(posterior(z, t, torch.ones(8).double()).diagonal(dim1=0, dim2=2).T)
    return -float(P @ (log_p @ WEIGHTS))


def prior():
    return float(P @ elbo.prior_kl(LEVELS[:, None], SCHEDULE, torch.tensor(1.0).double()))


def posterior_kls(pmf):
    """What separates the bound from the cross-entropy: KL(q(z_1) || N(0, 1)) at the noisy end for
    the mixture the model holds the data to be, by quadrature."""
    z = torch.linspace(-12, 12, 40001, dtype=torch.float64)
    t = torch.tensor(1.0).double()
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    log_each = -0.5 * ((z[:, None] - alpha * LEVELS) / sigma) ** 2 - torch.log(
        sigma * (2 * math.pi) ** 0.5
    )
    true = torch.logsumexp(log_each + torch.log(P), 1)
    model = torch.logsumexp(log_each + torch.log(pmf), 1)
    normal = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    return float(torch.trapezoid(true.exp() * (model - normal), z))


@pytest.mark.parametrize("pmf", [P, Q], ids=["matched", "mismatched"])
def test_the_bound_is_the_cross_entropy(pmf):
    """With a mismatched prior the entropy becomes the cross-entropy (mismatched I-MMSE)."""
    total = reconstruction() + prior() + diffusion_term(pmf)
    cross_entropy = -float(P @ torch.log(pmf))
    assert total == pytest.approx(cross_entropy + posterior_kls(pmf), abs=2e-5)
    assert total > cross_entropy
