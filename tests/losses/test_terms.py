"""Every operation of training against its closed form, in float64, and float32 against it."""

import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence

from fastdiff import losses, noise, schedules
from fastdiff.parameterization import PREDICTIONS, read
from tests.support.helpers import CONTINUOUS


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Noising.

FAMILIES = [
    *CONTINUOUS,
    schedules.DiscreteBetas.linear(),
]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", FAMILIES, ids=lambda s: type(s).__name__)
@settings(max_examples=15)
@given(u=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_reading_the_target_gives_back_data_and_noise(schedule, prediction, u, seed):
    t = schedule.t_min + u * (schedule.t_max - schedule.t_min)
    if schedule.t_min == -1:
        t = math.floor(t) + 0.5  # off the kinks of a discrete table
    t = torch.full((3,), t, dtype=torch.float64)
    x0, eps = normal(3, 2, 4, seed=seed), normal(3, 2, 4, seed=seed + 100)
    x_t, target = losses.noise_and_target(x0, losses.levels(schedule, t, prediction), eps)
    r = read(prediction, schedule, t[0])
    torch.testing.assert_close(r.x0_x * x_t + r.x0_out * target, x0, rtol=0, atol=1e-9)
    torch.testing.assert_close(r.eps_x * x_t + r.eps_out * target, eps, rtol=0, atol=1e-9)
    alpha, sigma = schedule.alpha(t[0]), schedule.sigma(t[0])
    torch.testing.assert_close(x_t, alpha * x0 + sigma * eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_stand_for_their_normals(dtype):
    x0, levels = normal(4, 3, 5, dtype=dtype), normal(4, 4, seed=1, dtype=dtype)
    keys = noise.keys(7, 4)
    drawn = noise.normal(keys, (3, 5), dtype=dtype)
    for with_keys, with_normals in zip(
        losses.noise_and_target(x0, levels, keys),
        losses.noise_and_target(x0, levels, drawn),
        strict=True,
    ):
        assert with_keys.dtype == dtype and torch.equal(with_keys, with_normals)


# KL and reparameterisation.

NUMBER = st.floats(-3, 3)


@given(NUMBER, NUMBER, NUMBER, NUMBER)
def test_gaussian_kl(mean, log_var, mean_p, log_var_p):
    args = [torch.full((1, 3), v, dtype=torch.float64) for v in (mean, log_var, mean_p, log_var_p)]
    p, q = (Normal(m, torch.exp(v / 2)) for m, v in (args[:2], args[2:]))
    expected = kl_divergence(p, q).sum(1)
    torch.testing.assert_close(losses.gaussian_kl(*args), expected, rtol=1e-12, atol=1e-12)


def test_gaussian_kl_of_nearly_equal_gaussians_keeps_its_digits():
    """log_var off by d: KL = d^2 / 4 + O(d^3)."""
    zero, d = torch.zeros(1, 1, dtype=torch.float64), 1e-5
    kl = losses.gaussian_kl(zero, zero + d, zero, zero)
    assert kl.item() == pytest.approx(d * d / 4, rel=1e-4)


def test_sample_and_kl_to_the_prior():
    mean, log_var, eps = normal(4, 6), normal(4, 6, seed=1), normal(4, 6, seed=2)
    z, kl = losses.gaussian_sample_kl(mean, log_var, eps)
    torch.testing.assert_close(z, mean + torch.exp(log_var / 2) * eps)
    zero = torch.zeros_like(mean)
    torch.testing.assert_close(kl, losses.gaussian_kl(mean, log_var, zero, zero))


def test_gaussian_log_prob():
    x, mean, log_var = normal(4, 6), normal(4, 6, seed=1), normal(4, 6, seed=2)
    expected = Normal(mean, torch.exp(log_var / 2)).log_prob(x).sum(1)
    torch.testing.assert_close(losses.gaussian_log_prob(x, mean, log_var), expected)
    scalar = losses.gaussian_log_prob(x, mean, log_var[0, 0])  # broadcasts, sums over all of x
    expected = Normal(mean, torch.exp(log_var[0, 0] / 2)).log_prob(x).sum(1)
    torch.testing.assert_close(scalar, expected)


# Grey levels.

DISCRETISED = {
    "gaussian": (losses.discretised_gaussian, lambda s: 2 * math.log(s)),
    "logistic": (losses.discretised_logistic, math.log),
}


@pytest.mark.parametrize("kind", DISCRETISED)
@given(
    depth=st.sampled_from([2, 3, 17, 256]),
    mean=st.floats(-2, 2),
    scale=st.floats(-5, 4).map(lambda e: 10**e),
)
def test_the_levels_share_all_of_the_probability(kind, depth, mean, scale):
    log_prob, parameter = DISCRETISED[kind]
    x = torch.linspace(-1, 1, depth, dtype=torch.float64)
    spread = torch.tensor(parameter(scale), dtype=torch.float64)
    each = log_prob(x[:, None], torch.full_like(x, mean)[:, None], spread, depth)
    assert abs(torch.logsumexp(each, 0).item()) < 1e-10


def exact_bin(kind, x, mean, scale, depth):
    """The logarithm of the bin's probability with fifty digits."""
    with mpmath.workdps(400):
        half = mpmath.mpf(1) / (depth - 1)
        cdf = {"gaussian": mpmath.ncdf, "logistic": lambda v: 1 / (1 + mpmath.exp(-v))}[kind]
        low, high = ((mpmath.mpf(x) - mean + d) / scale for d in (-half, half))
        p = cdf(-low) - cdf(-high) if low + high > 0 else cdf(high) - cdf(low)
        return float(mpmath.log(p))


@pytest.mark.parametrize("kind", DISCRETISED)
@pytest.mark.parametrize("scale", [3e-3, 0.05, 0.9, 70.0])
def test_levels_far_in_the_tails(kind, scale):
    log_prob, parameter = DISCRETISED[kind]
    depth, mean = 256, 0.3
    x = torch.linspace(-1, 1, depth, dtype=torch.float64)[1:-1:23]
    expected = [exact_bin(kind, v, mean, scale, depth) for v in x.tolist()]
    expected = torch.tensor(expected, dtype=torch.float64)
    spread = torch.tensor(parameter(scale), dtype=torch.float64)
    got = log_prob(x[:, None], torch.full_like(x, mean)[:, None], spread, depth)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    single = log_prob(x.float()[:, None], torch.full_like(x, mean).float()[:, None], spread.float(),
                      depth)  # fmt: skip
    torch.testing.assert_close(single.double(), expected, rtol=2e-4, atol=1e-4)


def test_categorical_is_the_cross_entropy():
    logits, level = normal(4, 2, 3, 5), torch.randint(0, 5, (4, 2, 3))
    each = F.cross_entropy(logits.flatten(0, 2), level.flatten(), reduction="none")
    torch.testing.assert_close(losses.categorical(level, logits), -each.reshape(4, 6).sum(1))


def test_bernoulli_is_the_binary_cross_entropy():
    logits, x = 10 * normal(4, 6), torch.rand(4, 6, dtype=torch.float64)
    each = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    torch.testing.assert_close(losses.bernoulli(x, logits), -each.sum(1))


# Gradients, precision, errors.

LEVEL = torch.linspace(-1, 1, 17, dtype=torch.float64)[[0, 1, 8, 15, 16, 3]].reshape(2, 3)
CASES = {
    "noise_and_target": (
        lambda x0, c, e: losses.noise_and_target(x0, c, e),
        [(2, 3), (2, 4), (2, 3)],
    ),
    "squared_error": (losses.squared_error, [(2, 3), (2, 3), (2,)]),
    "gaussian_sample_kl": (losses.gaussian_sample_kl, [(2, 3)] * 3),
    "gaussian_kl": (losses.gaussian_kl, [(2, 3)] * 4),
    "gaussian_log_prob": (losses.gaussian_log_prob, [(2, 3), (2, 3), ()]),
    "discretised_gaussian": (lambda m, v: losses.discretised_gaussian(LEVEL.to(m), m, v, 17),
                             [(2, 3), (2, 3)]),
    "discretised_logistic": (lambda m, v: losses.discretised_logistic(LEVEL.to(m), m, v, 17),
                             [(2, 3), (2, 3)]),
    "categorical": (lambda z: losses.categorical(torch.tensor([[0, 4], [2, 1]]), z), [(2, 2, 5)]),
    "bernoulli": (lambda z: losses.bernoulli(LEVEL.to(z) / 2 + 0.5, z), [(2, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    function, shapes = CASES[name]
    inputs = [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    assert gradcheck(function, inputs)


@pytest.mark.parametrize("name", CASES)
def test_float32_agrees_with_float64(name):
    function, shapes = CASES[name]
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    wide, single = function(*inputs), function(*(i.float() for i in inputs))
    pairs = zip(wide, single, strict=True) if isinstance(wide, tuple) else [(wide, single)]
    for w, s in pairs:
        assert s.dtype == torch.float32
        torch.testing.assert_close(s.double(), w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: losses.noise_and_target(x, x, x),
            r"levels: expected .* \[2, 4\], got",
        ),
        (
            lambda x: losses.noise_and_target(x, torch.zeros(2, 4), x[:, :2]),
            r"noise: expected \[2, 3\]",
        ),
        (
            lambda x: losses.standard_normal(torch.zeros(3, 2, dtype=torch.int64), x),
            r"int64 keys \[2, 2\], got torch.int64 \[3, 2\]",
        ),
        (lambda x: losses.squared_error(x, x[:1], x[:, 0]), r"target: expected floats \[2, 3\]"),
        (lambda x: losses.squared_error(x, x, x), r"weight: expected floats \[2\]"),
        (lambda x: losses.discretised_gaussian(x, x, x, 1), "depth: expected an integer >= 2"),
        (lambda x: losses.categorical(x.long(), x), "level: expected"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3))
