"""Score matching on Gaussians, where every objective has a closed form."""

import pytest
import torch

from fastdiff import losses, noise

D = 4
RNG = torch.Generator().manual_seed(0)


def positive_definite():
    a = torch.randn(D, D, generator=RNG, dtype=torch.float64)
    return a @ a.T + torch.eye(D)


LAMBDA, SIGMA = positive_definite(), positive_definite()
MU = torch.randn(D, generator=RNG, dtype=torch.float64)


def score(x):
    return -(x - MU) @ LAMBDA


def exact_samples():
    """[2 D, D] points whose mean and covariance are exactly MU and SIGMA."""
    eye = torch.eye(D, dtype=torch.float64) * D**0.5
    return MU + torch.cat([eye, -eye]) @ torch.linalg.cholesky(SIGMA).T


def test_implicit_score_matching():
    expected = -LAMBDA.trace() + 0.5 * (LAMBDA @ SIGMA @ LAMBDA).trace()
    torch.testing.assert_close(losses.implicit(score, exact_samples()).mean(), expected)


def test_explicit_is_implicit_plus_the_norm_of_the_data_score():
    x, precision = exact_samples(), SIGMA.inverse()
    true = -(x - MU) @ precision
    explicit = 0.5 * (score(x) - true).square().sum(1).mean()
    constant = 0.5 * true.square().sum(1).mean()
    torch.testing.assert_close(losses.implicit(score, x).mean() + constant, explicit)


@pytest.mark.parametrize("reduced", [True, False])
def test_sliced_averages_to_implicit(reduced):
    """Over all 2^D sign vectors the mean of v v' is I exactly."""
    x = exact_samples()
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * D)
    mean = sum(losses.sliced(score, x, v.expand_as(x), reduced=reduced) for v in signs) / len(signs)
    torch.testing.assert_close(mean, losses.implicit(score, x))


def test_rademacher_slices_of_a_diagonal_score_have_no_variance():
    x = exact_samples()
    probe = losses.rademacher(noise.keys(3, len(x)), x)
    assert set(probe.flatten().tolist()) == {-1.0, 1.0}

    def diagonal(x):
        return -2.0 * x

    torch.testing.assert_close(losses.sliced(diagonal, x, probe), losses.implicit(diagonal, x))


def test_gradients_reach_the_network():
    layer = torch.nn.Linear(D, D).double()
    x = exact_samples()
    for loss in (losses.implicit(layer, x), losses.sliced(layer, x, torch.ones_like(x))):
        layer.zero_grad()
        loss.mean().backward()
        torch.testing.assert_close(  # d/dW of tr W + 1/2 |Wx + b|^2, and of v'Wv with v = 1
            layer.bias.grad, layer(x).mean(0), msg="bias"
        )
        assert layer.weight.grad.abs().min() > 0
