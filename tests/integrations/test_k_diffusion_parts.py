"""k-diffusion's noise, noise levels, small functions, likelihood and errors beside ours."""

import inspect
import math

import pytest
import torch

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import (
    SDE,
    SHAPE,
    denoiser,
    every_name,
    grid,
    sample,
    start,
)


class TestBrownianNoise:
    """The default of the SDE samplers where torchsde is not installed."""

    def noise(self, batch=20_000, seed=0, shape=(1,)):
        return ours.noise.PathNoise(torch.zeros(batch, *shape), 10.0, seed)

    def test_increments_of_one_path(self):
        noise = self.noise()
        points = [(10.0, 4.0), (10.0, 1.0), (4.0, 1.0), (1.0, 0.002)]
        z = torch.stack([noise(a, b).flatten() for a, b in points])
        expected = torch.eye(4)
        expected[0, 1] = expected[1, 0] = math.sqrt(6 / 9)
        expected[1, 2] = expected[2, 1] = math.sqrt(3 / 9)
        assert (z.cov() - expected).abs().max() < 5 * math.sqrt(2 / 20_000)
        whole = (math.sqrt(6) * z[0] + math.sqrt(3) * z[2]) / 3
        torch.testing.assert_close(z[1], whole, rtol=0, atol=1e-6)

    def test_depends_on_the_seed_and_the_sample_alone(self):
        many = self.noise(5, 7, (3, 4))(6.0, 2.0)
        other = self.noise(2, 8, (3, 4))
        other(10.0, 9.0), other(2.0, 1.0)
        assert torch.equal(other(6.0, 2.0), many[1:3])

    def test_more_steps_refine_the_same_samples(self, kd, monkeypatch):
        monkeypatch.setattr(ours.noise.importlib.util, "find_spec", lambda name: None)
        for name in SDE:
            one, same, other = (
                sample(ours, name, start(10.0), grid(kd, n), seed=seed)[0]
                for n, seed in ((20, 5), (80, 5), (80, 6))
            )
            assert (one - same).std() < 0.2 * (other - same).std()


def test_torchsde_is_used_where_it_is(monkeypatch):
    """With the calls that k-diffusion makes: the whole interval, a seed, increasing times."""
    made = []

    class Tree:
        def __init__(self, t0, w0, t1, entropy):
            made.append((t0, w0, t1, entropy))

        def __call__(self, start, end):
            made.append((start, end))
            return torch.full(SHAPE, (end - start) ** 0.5)

    module = type("torchsde", (), {"BrownianTree": Tree})
    noise = ours.noise
    monkeypatch.setattr(noise.importlib.util, "find_spec", lambda name: name == "torchsde")
    monkeypatch.setattr(noise.importlib, "import_module", lambda name: module)
    torch.manual_seed(1)
    sampler = noise.brownian(start(1.0), 0.5, 10.0)
    torch.manual_seed(1)
    seed = int(torch.randint(0, 2**63 - 1, []))
    torch.testing.assert_close(sampler(4.0, 2.0), torch.full(SHAPE, -1.0))
    (t0, w0, t1, entropy), call = made
    assert (t0, t1, entropy, call) == (0.5, 10.0, seed, (2.0, 4.0))
    assert w0.shape == SHAPE and not w0.any()


SIGMAS = torch.tensor([10.0, 1.0, 0.0])
X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: ours.sample_euler(None, X, SIGMAS), "model: expected a callable"),
        (TypeError, lambda: ours.sample_lms(denoiser, [1.0], SIGMAS), "x: expected a floating"),
        (TypeError, lambda: ours.sample_heun(denoiser, X.long(), SIGMAS), "x: .*int64"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, SIGMAS, callback=3), "callback: expec"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, [1.0, 0.0]), "sigmas: .*tensor"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, SIGMAS[None]), r"sigmas: .*\[1, 3\]"),
        (ValueError, lambda: ours.sample_lms(denoiser, X, -SIGMAS), r"sigmas: .*sigmas\[0\] = -10"),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[0, 0, 1]]), r"sigmas\[1\] = 10 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[0, 2, 1]]), r"sigmas\[1\] = 0 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[1, 0, 2]]), r"sigmas\[2\] = 0 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS * torch.nan), r"\[0\] = nan"),
        (
            ValueError,
            lambda: ours.sample_euler_ancestral(denoiser, X, SIGMAS[[1, 0]]),
            "sigmas: expected to decrease for EulerAncestral",
        ),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS, order=0), "order must be 1, 2"),
        (
            ValueError,
            lambda: ours.sample_dpmpp_2m_sde(denoiser, X, SIGMAS, solver_type="euler"),
            "solver_type: expected .* got 'euler'",
        ),
        (
            ValueError,
            lambda: ours.sample_dpmpp_sde(denoiser, X, SIGMAS, eta=2.0),
            r"eta must be a number in \[0, 1\], got 2.0",
        ),
        (
            ValueError,
            lambda: ours.sample_euler_ancestral(
                denoiser, X, SIGMAS, noise_sampler=lambda a, b: torch.zeros(3)
            ),
            r"noise: expected a tensor \[2, 3\], got \[3\]",
        ),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 0.0, 1.0, 5), "sigma_min: expected"),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 1.0, 1.0, 5), "sigma_min: expected"),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 0.1, 1.0, 0), "n: expected an int"),
        (ValueError, lambda: ours.sample_dpm_adaptive(denoiser, X, 2.0, 1.0), "sigma_min: .*less"),
        (ValueError, lambda: ours.sample_dpm_adaptive(denoiser, X, 0.1, 1, order=4), "order: exp"),
        (
            ValueError,
            lambda: ours.sample_euler(lambda y, s: y[:1], X, SIGMAS),
            r"out: expected",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_argument(error, call, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_sigmas_karras", (10, 0.1, 12.0)),
        ("get_sigmas_karras", (1, 0.1, 12.0, 5)),
        ("get_sigmas_exponential", (10, 0.1, 12.0)),
        ("get_sigmas_polyexponential", (10, 0.1, 12.0, 2.0)),
        ("get_sigmas_vp", (10,)),
        ("get_sigmas_vp", (5, 12.0, 0.2, 0.1)),
    ],
)
def test_noise_levels(kd, name, arguments):
    mine, theirs = (getattr(module, name)(*arguments) for module in (ours, kd))
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
    # theirs are differences of float32 numbers near 1
    torch.testing.assert_close(mine, theirs, rtol=3e-4 if name.endswith("vp") else 1e-6, atol=0)
    signatures = [inspect.signature(getattr(module, name)) for module in (ours, kd)]
    assert signatures[0] == signatures[1]


def test_small_functions(kd):
    x, denoised = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([2.0, 3.0])
    assert torch.equal(ours.to_d(x, sigma, denoised), kd.to_d(x, sigma, denoised))
    assert torch.equal(ours.append_zero(sigma), kd.append_zero(sigma))
    for levels in ((3.0, 1.0), tuple(torch.tensor([3.0, 1.0]))):
        for eta in (0.0, 0.5, 1.0):
            pairs = zip(ours.get_ancestral_step(*levels, eta), kd.get_ancestral_step(*levels, eta),
                        strict=True)  # fmt: skip
            for mine, theirs in pairs:
                assert float(mine) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"seed": 3}, {"seed": [3, 4]}, {"transform": torch.log1p}],
    ids=["one seed", "one each", "transform"],
)
def test_the_brownian_sampler(kd, options):
    if not hasattr(kd.torchsde, "BrownianTree"):
        pytest.skip("torchsde is not installed")
    x, ends = torch.zeros(2, 3, 4), torch.tensor([0.05, 12.0])
    samplers = []
    for module in (ours, kd):
        torch.manual_seed(0)
        samplers.append(module.BrownianTreeNoiseSampler(x, *ends, **options))
    for sigma, after in torch.tensor([[10.0, 5.0], [5.0, 1.0], [1.0, 5.0]]):
        mine, theirs = (sampler(sigma, after) for sampler in samplers)
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_log_likelihood_of_gaussian_data():
    """Unit-variance data: the flow stretches all directions alike, so that one probe is exact."""
    low, high, x = 0.1, 20.0, torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    found, info = ours.log_likelihood(
        lambda y, s, shift=0.0: y / (1 + s.reshape(-1, 1, 1) ** 2) + shift, x, low, high,
        {"shift": 0.0}, atol=1e-6, rtol=1e-6,
    )  # fmt: skip
    stretch = (1 + high**2) / (1 + low**2)
    prior = torch.distributions.Normal(0, high).log_prob(x * stretch**0.5).flatten(1).sum(1)
    torch.testing.assert_close(found, prior + 10 * math.log(stretch) / 2, rtol=1e-4, atol=1e-3)
    assert info["fevals"] > 0


@every_name
def test_models_in_double(kd, name):
    sigmas = grid(kd, 4)
    x = start(sigmas[0])
    outs = []
    for model in (denoiser, lambda y, s: denoiser(y, s).double()):
        torch.manual_seed(5)
        outs.append(getattr(ours, f"sample_{name}")(model, x, sigmas, disable=True))
    assert torch.equal(*outs)
