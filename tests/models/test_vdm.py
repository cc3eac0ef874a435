"""VDM: the bound it starts at, the schedule it learns."""

import math

import numpy as np
import pytest
import torch

from fastdiff import elbo, noise
from fastdiff.models import Gamma, vdm
from fastdiff.models.gamma import scale_gradient
from fastdiff.training import load
from tests.models.members import SPACE, batch, images, make
from tests.support.oracles import GaussianData


def bits(model, x, rounds=64):
    """-ELBO in bits per dimension, with stratified times."""
    t = (torch.arange(rounds * len(x)) + 0.5) / (rounds * len(x))
    t = t[torch.randperm(len(t), generator=torch.Generator().manual_seed(0))].to(x)
    keys = noise.keys(0, len(x))
    with torch.no_grad():
        totals = [
            model.bound(x, part, noise.fold_in(keys, i)).total
            for i, part in enumerate(t.split(len(x)))
        ]
    return float(torch.stack(totals).mean()) / (model.space.dims * math.log(2))


def test_the_untrained_bound_is_the_cross_entropy_of_independent_pixels():
    """Real digits and no network: a check of the whole bound against a number known beforehand."""
    train, test = load("digits8")
    model = make("vdm", {"gamma_min": -9.0}, train.space, wake=False).eval()
    model.fit(train.images)
    levels = train.space.levels(test.images)
    log_p = model.log_pmf.expand(len(levels), *model.log_pmf.shape)
    expected = -log_p.gather(-1, levels[..., None]).mean().item() / math.log(2)
    assert bits(model, test.images, rounds=40) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("depth", [2, 17, 256])
def test_the_clean_end_suits_the_levels(depth):
    """What z_0 does not tell of the levels costs next to nothing, whatever their number."""
    space = type(SPACE)((1, 8, 8), depth, 1)
    model = make("vdm", {"head": "eps"}, space)
    x = images(50, space=space)
    with torch.no_grad():
        bound = model.bound(x, torch.full((50,), 0.5), noise.keys(1, 50))
    assert bound.reconstruction.mean().item() / (64 * math.log(2)) < 0.02
    assert make("vdm", {}).start == (-8, 5)


def test_logits_are_made_some_images_at_a_time(monkeypatch):
    model, b = make("vdm", {}), batch()
    whole = model.loss(b)
    expected = torch.autograd.grad(whole.mean(), list(model.parameters()))
    monkeypatch.setattr(vdm, "LOGITS", 2 * 64 * 17)
    seen, usual = [], model.decoder
    model.decoder = lambda z: seen.append(len(z)) or usual(z)
    loss = model.loss(b)
    found = torch.autograd.grad(loss.mean(), list(model.parameters()))
    assert max(seen) == 2 and len(seen) == 6  # once more for the gradients
    torch.testing.assert_close(loss, whole)
    for a, e in zip(found, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-6)


def test_the_continuous_bound_is_the_limit_of_the_discrete_one():
    model = make("vdm", {"gamma_min": -5.0}).double().eval()
    x, keys = images(3).double(), noise.keys(4, 3)
    schedule = model.schedule
    times = torch.linspace(0, 1, 201, dtype=torch.float64)

    def decoder(x0, mean, log_var):
        return torch.zeros(len(x0))

    with torch.no_grad():
        discrete = elbo.bound(
            elbo.estimator(model, schedule, "x0"), x, times, keys,
            schedule=schedule, variance=elbo.Small(), decoder=decoder,
        )  # fmt: skip
        parts = [model.bound(x, t.expand(3), noise.fold_in(keys, i)) for i, t in enumerate(times)]
    diffusion = torch.stack([p.diffusion for p in parts]).mean(0)
    spread = torch.stack([p.diffusion for p in parts]).std(0) / len(times) ** 0.5
    gap = (discrete.denoising.sum(1) - diffusion).abs()
    assert (gap < 5 * spread + 0.03 * diffusion).all()
    torch.testing.assert_close(discrete.prior, parts[0].prior, rtol=1e-6, atol=1e-9)


def test_gamma_is_monotone_with_exact_derivative():
    gamma = Gamma((-7.0, 4.0)).double()
    rng = torch.Generator().manual_seed(0)
    for parameter in (gamma.log_height, gamma.log_width, gamma.centre):
        parameter.data += torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    t = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    part, rate = gamma.fraction(t)
    (slope,) = torch.autograd.grad(part.sum(), t)
    part, t = part.detach(), t.detach()
    torch.testing.assert_close(rate, slope)
    assert (rate > 0).all() and (part[0], part[-1]) == (0, pytest.approx(1))
    torch.testing.assert_close(gamma(t)[[0, -1]], torch.tensor([-7.0, 4.0]).double())
    schedule = gamma.schedule()
    torch.testing.assert_close(-2 * schedule.lam(t), gamma(t).detach())
    np.testing.assert_allclose(schedule.lam(t.numpy()), schedule.lam(t))
    frozen = Gamma((-7.0, 4.0), learned=False)
    assert not any(p.requires_grad for p in frozen.parameters())
    torch.testing.assert_close(frozen(t.float()), -7 + 11 * t.float())


def test_scaled_gradients_are_those_of_the_squared_loss():
    a = torch.tensor([0.3, -0.7, 1.1], requires_grad=True)
    factor = []
    loss = torch.sin(scale_gradient(a, factor)) * torch.tensor([1.0, 2.0, 3.0])
    factor.append(2 * loss.detach())
    loss.mean().backward()
    b = a.detach().requires_grad_()
    (torch.sin(b) * torch.tensor([1.0, 2.0, 3.0])).square().mean().backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_ends_learn_by_the_bound_and_the_inside_by_its_variance():
    model = make("vdm", {})
    b = batch()
    bound = model.bound(b.x, b.u, b.keys)
    ends = torch.autograd.grad(bound.total.mean(), model.gamma.ends, retain_graph=True)[0]
    (inner,) = torch.autograd.grad(bound.diffusion.mean(), model.gamma.centre)
    # The same two by hand, through the definition.
    plain = model.bound(b.x, b.u, b.keys).diffusion
    factor = 2 * plain.detach() / plain.detach().mean()
    assert ends.abs().min() > 0 and inner.abs().max() > 0
    expected = []
    for i in range(6):
        one = type(b)(b.x[i : i + 1], b.y[i : i + 1], b.u[i : i + 1], b.keys[i : i + 1])
        own = model.bound(one.x, one.u, one.keys).diffusion  # alone, its factor is 2
        expected.append(torch.autograd.grad(own.sum(), model.gamma.centre)[0] / 2 * factor[i])
    torch.testing.assert_close(inner, torch.stack(expected).mean(0), rtol=1e-3, atol=1e-6)


def exact_eps(c):
    """That of N(0, c), in place of a network."""

    def predict(z, gamma):
        alpha, sigma = (torch.sigmoid(s * gamma).sqrt().reshape(-1, 1, 1, 1) for s in (-1, 1))
        return GaussianData(mean=0.0, c=c).eps_hat(z, alpha, sigma)

    return predict


def test_the_schedule_learns_to_minimise_the_variance():
    """Gaussian data: with log(1 + c e^-gamma) linear in t every t costs the same, and the variance
    of the estimate is L^2 2 / d; the straight line is far from it."""
    c, space = 0.3, type(SPACE)((1, 8, 8), 2, 1)
    model = make("vdm", {"head": "eps", "gamma_min": -8.0}, space)
    model.predict = exact_eps(c)
    low, high = (math.log1p(c * math.exp(-g)) for g in (-8.0, 5.0))
    loss = 32 * (low - high)  # d / 2 of the difference
    rng = torch.Generator().manual_seed(0)

    def estimates(count, seed):
        x = c**0.5 * torch.randn((count, 1, 8, 8), generator=rng)
        t = (torch.rand((), generator=rng) + torch.arange(count) / count) % 1
        return model.bound(x, t, noise.keys(seed, count)).diffusion

    def variance():
        with torch.no_grad():
            drawn = torch.cat([estimates(2000, 10**6 + 10_000 * i) for i in range(4)])
        assert drawn.mean() == pytest.approx(loss, rel=0.05)
        return drawn.var().item()

    before = variance()
    assert before == pytest.approx(32325, rel=0.1)
    inside = [p for n, p in model.gamma.named_parameters() if n != "ends"]
    optimizer = torch.optim.Adam(inside, 0.05)
    for step in range(500):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - step / 500)
        optimizer.zero_grad()
        estimates(256, 1000 * step).mean().backward()
        optimizer.step()
    after, best = variance(), loss**2 * 2 / 64
    assert best == pytest.approx(1477.6, rel=1e-3)
    assert after < 1.2 * best
    t = torch.linspace(0, 1, 21)
    straight = torch.log1p(c * torch.exp(-model.gamma(t))).detach()
    expected = low + (high - low) * t
    torch.testing.assert_close(straight, expected, rtol=0, atol=0.08 * low)
