"""Samplers on models of rectified flows, x = (1 - sigma) x0 + sigma eps, in float64."""

import inspect
import math

import pytest
import torch

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import SAMPLERS, every_sampler

SIGMAS = torch.tensor([1.0, 0.93, 0.8, 0.55, 0.3, 0.1, 0.0], dtype=torch.float64)
BELOW = torch.cat((torch.tensor([0.97], dtype=torch.float64), SIGMAS[1:]))
NOISY = ["euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral"]
NOISY += ["dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"]
every_noisy = pytest.mark.parametrize("name", NOISY)


class CONST:
    """The kind of a ``model_sampling`` is told by its name."""


class Levels:
    pass


class Sampling(Levels, CONST):
    pass


class Model:
    def __init__(self, function, sampling, depth=1):
        self.function, self.inner_model = function, type("Guider", (), {})()
        inner = self.inner_model
        for _ in range(depth - 1):
            inner.inner_model = type("Model", (), {})()
            inner = inner.inner_model
        inner.model_sampling = sampling

    def __call__(self, x, sigma, **extra):
        return self.function(x, sigma, **extra)


def denoiser(x, sigma):
    sigma = sigma.reshape(-1, 1, 1)
    return (1 - sigma) * x / ((1 - sigma) ** 2 + sigma**2) + 0.2 * torch.sin(2 * x + sigma)


def draws(seed=3):
    generator = torch.Generator().manual_seed(seed)
    return lambda sigma, after: torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)


def start():
    return torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def of_name(name):
    return getattr(ours, f"sample_{name}")


def renoised(x, sigma, below, s_noise, z):
    """From the level ``below`` up to sigma: the data scaled to theirs, and the noise that lacks."""
    scale = (1 - sigma) / (1 - below)
    return scale * x + s_noise * (sigma**2 - (scale * below) ** 2).clamp(min=0).sqrt() * z


def lam(sigma):
    return torch.log((1 - sigma) / sigma)


def reference(name, model, x, sigmas, noise, eta=1.0, s_noise=1.0, r=0.5, solver_type="midpoint"):
    """The loops in the words of the papers, one step after the other."""

    def at(x, sigma):
        return model(x, sigma.expand(2))

    def to(x, x0, sigma, after):  # Euler's step of the flow
        return x + (x - x0) / sigma * (after - sigma)

    def posterior(t, s, eta):  # a step of the SDE in rho = sigma / alpha, as DDIM has it
        rho_t, rho_s = t / (1 - t), s / (1 - s)
        up = min(rho_s, eta * rho_s * (1 - rho_s**2 / rho_t**2).sqrt())
        down = (rho_s**2 - up**2).sqrt()
        return down / rho_t, (1 - s) * up

    old, gaps = [], []
    for t, s in zip(sigmas[:-1], sigmas[1:], strict=True):
        x0 = at(x, t)
        if s == 0:
            x = x0
            continue
        below = s * (1 + eta * (s / t - 1))
        if name == "euler_ancestral":
            x = renoised(to(x, x0, t, below), s, below, s_noise, noise(t, s) if eta else 0)
        elif name == "dpm_2_ancestral":
            middle = (t * below).sqrt()
            x0 = at(to(x, x0, t, middle), middle)
            slope = (to(x, at(x, t), t, middle) - x0) / middle
            x = renoised(x + slope * (below - t), s, below, s_noise, noise(t, s))
        elif name == "dpmpp_2s_ancestral":
            if t < 1:
                middle = torch.sigmoid(-(lam(t) + lam(below)) / 2)
                x0 = at(to(x, x0, t, middle), middle)
            x = renoised(to(x, x0, t, below), s, below, s_noise, noise(t, s) if eta else 0)
        elif name == "dpmpp_sde":
            middle = torch.sigmoid(-(lam(t) + r * (lam(s) - lam(t))))
            keep, up = posterior(t, middle, eta)
            keep = keep * (1 - middle) / (1 - t)
            inner = keep * x + (1 - middle - keep * (1 - t)) * x0
            inner = inner + s_noise * up * (noise(t, middle) if eta else 0)
            mixed = x0 + (at(inner, middle) - x0) / (2 * r)
            keep, up = posterior(t, s, eta)
            keep = keep * (1 - s) / (1 - t)
            x = keep * x + (1 - s - keep * (1 - t)) * mixed
            x = x + s_noise * up * (noise(t, s) if eta else 0)
        else:
            h = lam(s) - lam(t)
            long = (1 + eta) * h
            integral = -torch.expm1(-long)
            x = s / t * torch.exp(-eta * h) * x + (1 - s) * integral * x0
            half = integral / 2 if solver_type == "midpoint" else 1 - integral / long
            if name == "dpmpp_2m_sde" and old:
                x = x + (1 - s) * half * h / gaps[-1] * (x0 - old[-1])
            second = 1 - integral / long
            if name == "dpmpp_3m_sde" and len(old) == 1:
                x = x + (1 - s) * second * h / gaps[-1] * (x0 - old[-1])
            elif name == "dpmpp_3m_sde" and old:
                r0, r1 = gaps[-1] / h, gaps[-2] / h
                one, two = (x0 - old[-1]) / r0, (old[-1] - old[-2]) / r1
                bend = (one - two) / (r0 + r1)
                x = x + (1 - s) * (second * (one + r0 * bend) - (second / long - 0.5) * bend)
            fresh = (-torch.expm1(-2 * eta * h)).sqrt() if eta else 0.0
            x = x + s_noise * s * fresh * (noise(t, s) if eta else 0)
            gaps.append(h)
        old.append(x0)
    return x


OPTIONS = [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]
MORE = {"dpmpp_sde": [{"r": 0.3}], "dpmpp_2m_sde": [{"solver_type": "heun"}]}
CASES = [(n, o) for n in NOISY for o in OPTIONS + MORE.get(n, [])]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize("sigmas", [SIGMAS, BELOW, BELOW[:-1]], ids=["one", "below", "img2img"])
def test_the_formulas(name, options, sigmas):
    if sigmas is SIGMAS and name not in NOISY[:3]:
        pytest.skip("the formulas divide by the signal-to-noise ratio; see the next test")
    expected = reference(name, denoiser, start(), sigmas, draws(), **options)
    found = of_name(name)(
        denoiser, start(), sigmas, disable=True, noise_sampler=draws(), flow=True, **options
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    stock = of_name(name)(
        denoiser, start(), sigmas, disable=True, noise_sampler=draws(), flow=False, **options
    )
    assert (stock - expected).abs().max() > 0.05 or options.get("eta") == 0


@pytest.mark.parametrize("name", NOISY[3:])
def test_the_step_from_pure_noise(name):
    """Nothing of the old noise is left on a step that is infinitely long in lam."""
    found = of_name(name)(denoiser, start(), SIGMAS[:2], disable=True, noise_sampler=draws(),
                          flow=True)  # fmt: skip
    x0 = denoiser(start(), torch.ones(2, dtype=torch.float64))
    expected = 0.07 * x0 + 0.93 * draws()(1.0, 0.93)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def point_mass(name, model, sigmas=SIGMAS, **options):
    """Whether every level holds alpha x0 + sigma eps of a unit eps, and the samples are x0."""
    x0, batch = torch.linspace(-1, 3, 4000, dtype=torch.float64), 1
    x = torch.randn(batch, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spreads = []

    def callback(info):
        sigma = float(info["sigma_hat"])
        spreads.append(float(((info["x"] - (1 - sigma) * x0) / sigma).std()))

    model.function = lambda y, sigma, **extra: x0.expand(y.shape).clone()
    given = {"dpm_fast": (0.1, 0.99, 7), "dpm_adaptive": (0.1, 0.99)}.get(name)
    if given:
        x = 0.01 * x0 + 0.99 * x
    torch.manual_seed(2)
    out = of_name(name)(model, x, *(given or [sigmas]), callback=callback, disable=True, **options)
    left = 0.1 if given else 0.0
    return spreads, (out - (1 - left) * x0).std() - left


@every_sampler
@pytest.mark.parametrize("options", [{}, {"eta": 0.5}, {"eta": 1.0}, {"s_churn": 5.0}], ids=str)
def test_every_sampler_on_data_of_one_point(name, options):
    """Right, or an error that says which argument has no form for flows."""
    known = inspect.signature(of_name(name)).parameters
    if any(option not in known for option in options):
        return
    model = Model(None, Sampling())
    no_form = options and name in ("dpm_fast", "dpm_adaptive", "euler", "heun", "dpm_2")
    if no_form:
        argument = next(iter(options))
        with pytest.raises(ValueError, match=f"{argument}: expected 0 for a model of a rectified"):
            point_mass(name, model, **options)
        return
    spreads, error = point_mass(name, model, **options)
    if name != "dpm_adaptive":  # its callback is told the level that it comes from
        assert spreads and all(abs(spread - 1) < 5 / math.sqrt(2 * 4000) for spread in spreads)
    assert abs(error) < (1e-12 if name not in ("dpm_fast", "dpm_adaptive") else 0.01)


class Predictor:
    prediction_type = "const"


def forge(function):
    model = Model(function, None)
    model.inner_model.predictor = Predictor()
    return model


@every_noisy
def test_who_tells_that_it_is_a_flow(name):
    def run(model, **options):
        torch.manual_seed(0)
        return of_name(name)(model, start(), BELOW, disable=True, **options)

    flow, other = (run(denoiser, flow=flow) for flow in (True, False))
    assert not torch.allclose(flow, other)
    for depth in (1, 2):
        assert torch.equal(run(Model(denoiser, Sampling(), depth)), flow)
        assert torch.equal(run(Model(denoiser, Sampling(), depth), flow=False), other)
    assert torch.equal(run(forge(denoiser)), flow)
    assert torch.equal(run(Model(denoiser, Levels())), other)
    assert torch.equal(run(denoiser), other)


@every_noisy
def test_the_first_level_that_interfaces_tell(name):
    """Their SDE samplers begin a little below 1, on a level that they ask the model for."""
    sampling, told = Sampling(), []
    sampling.percent_to_sigma = lambda percent: 1 - 3 * percent
    model = Model(lambda x, sigma: told.append(float(sigma[0])) or denoiser(x, sigma), sampling)
    found = of_name(name)(model, start(), SIGMAS, disable=True, noise_sampler=draws())
    moved = name in NOISY[3:]
    assert told[0] == (1 - 3e-4 if moved else 1.0)
    near = torch.cat((torch.tensor([told[0]], dtype=torch.float64), SIGMAS[1:]))
    expected = reference(name, denoiser, start(), near, draws())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert SIGMAS[0] == 1


@every_noisy
def test_what_is_refused(name):
    with pytest.raises(TypeError, match="flow: expected True, False or None, got 'yes'"):
        of_name(name)(denoiser, start(), SIGMAS, flow="yes")
    with pytest.raises(ValueError, match="sigmas: expected at most 1 .*, got 10; flow=False is"):
        of_name(name)(denoiser, start(), 10 * SIGMAS, flow=True)
    sampling = Sampling()
    sampling.noise_scale = 0.5
    with pytest.raises(ValueError, match="model_sampling.noise_scale: expected 1, got 0.5"):
        of_name(name)(Model(denoiser, sampling), start(), SIGMAS)


def test_every_sampler_that_adds_noise_asks():
    adds = {"s_churn", "eta"}
    for name in SAMPLERS:
        known = inspect.signature(of_name(name)).parameters
        assert ("flow" in known) == bool(adds & set(known)), name
