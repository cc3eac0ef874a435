"""VAE and HVAE: closed forms, starting points, bounds."""

import math

import numpy as np
import pytest
import torch

from fastdiff import losses, noise
from fastdiff.models.vae import free, warm
from tests.models.members import SPACE, batch, images, make


@pytest.mark.parametrize("family", ["vae", "hvae"])
def test_training_starts_at_independent_pixels(family):
    """With a network that says nothing the reconstruction is the cross-entropy of histograms."""
    model = make(family, {})
    last = model.decoder[-1] if family == "vae" else model.pixels[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    x, train = images(7), images(200, seed=5)
    counts = torch.stack([(SPACE.levels(train) == k).sum(0) for k in range(17)], -1) + 0.1
    log_p = torch.log(counts / counts.sum(-1, keepdim=True))
    expected = (
        -log_p.expand(7, 1, 8, 8, 17).gather(-1, SPACE.levels(x)[..., None]).sum((1, 2, 3, 4))
    )
    keys = noise.keys(0, 7)
    if family == "vae":
        reconstruction, _ = model.terms(x, keys)
    else:
        reconstruction = model.bound(x, [keys, noise.fold_in(keys, 1)]).reconstruction
    torch.testing.assert_close(reconstruction, expected, rtol=1e-4, atol=1e-3)


def pca_model(flat, q):
    """The linear VAE at its optimum, and the likelihood there (Lucas et al. 2019, sec. 4)."""
    space = type(SPACE)((1, 1, flat.shape[1]), 256, 1)
    model = make("vae", {"net": "linear", "decoder": "gaussian", "latent": q}, space).double()
    model.fit(flat.reshape(-1, *space.shape))
    values, axes = np.linalg.eigh(np.cov(flat.numpy(), rowvar=False, bias=True))
    values, axes = torch.tensor(values[::-1].copy()), torch.tensor(axes[:, ::-1].copy())
    sigma2 = values[q:].mean()
    loading = axes[:, :q] * (values[:q] - sigma2).sqrt()
    inner = loading.T @ loading + sigma2 * torch.eye(q, dtype=torch.float64)
    with torch.no_grad():
        model.encoder.weight.copy_(torch.linalg.solve(inner, loading.T))
        model.encoder.bias.zero_()
        model.log_var.copy_(torch.log(sigma2 / inner.diag()))
        model.decoder.weight.copy_(loading)
        model.decoder.bias.zero_()
        model.likelihood.log_scale.fill_(0.5 * sigma2.log())
    dims = flat.shape[1]
    best = values[:q].log().sum() + (dims - q) * sigma2.log() + dims * (1 + math.log(2 * math.pi))
    return model, -0.5 * best.item()


def test_linear_vae_at_its_optimum_is_probabilistic_pca():
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    flat = torch.randn(400, 6, generator=rng, dtype=torch.float64) @ mixing * 0.2
    model, likelihood = pca_model(flat, 2)
    x = flat.reshape(-1, 1, 1, 6)
    # Quadratic in the noise: two pairs of antithetic points are exact.
    points = [2**0.5 * torch.eye(2, dtype=torch.float64)[i] * s for i in (0, 1) for s in (1, -1)]
    terms = [sum(model.terms(x, p.expand(400, 2))).mean().item() for p in points]
    assert -np.mean(terms) == pytest.approx(likelihood, rel=1e-10)
    with torch.no_grad():
        model.decoder.weight.mul_(1.1)
    worse = [sum(model.terms(x, p.expand(400, 2))).mean().item() for p in points]
    assert np.mean(worse) > np.mean(terms) + 1e-3


def test_importance_weights():
    """IWAE with one sample is the ELBO; with more it is tighter, sample by sample on average."""
    model = make("vae", {}).double().eval()
    x, eps = images(5).double(), torch.randn(32, 5, 16, dtype=torch.float64)
    log_w = model.log_weights(x, eps)
    reconstruction, kl = model.terms(x, eps[0])
    mean, log_var = model.encode(x)
    z = mean + torch.exp(log_var / 2) * eps[0]
    zero = torch.zeros_like(z)
    sampled_kl = losses.gaussian_log_prob(z, mean, log_var) - losses.gaussian_log_prob(
        z, zero, zero
    )
    torch.testing.assert_close(log_w[0], -reconstruction - sampled_kl)
    torch.testing.assert_close(model.iwae(x, eps[:1]), log_w[0])
    assert (model.iwae(x, eps) >= log_w.mean(0)).all()
    assert kl.min() > 0


@pytest.mark.parametrize("decoder", ["categorical", "bernoulli", "logistic", "gaussian"])
def test_mean_images(decoder):
    model = make("vae", {"decoder": decoder}).eval()
    x = model.decode(torch.zeros(3, 16))
    assert x.shape == (3, 1, 8, 8)
    if decoder in ("categorical", "bernoulli"):
        assert x.abs().max() <= 1


@pytest.mark.parametrize("decoder", ["categorical", "logistic"])
def test_probabilities_of_the_levels_sum_to_one(decoder):
    pixel = type(SPACE)((1, 1, 1), 17, 10)
    model = make("vae", {"decoder": decoder}, pixel).double().eval()
    output = model.decoder(torch.ones(17, 16, dtype=torch.float64))
    log_p = model.likelihood(pixel.values.double().reshape(17, 1, 1, 1), output)
    torch.testing.assert_close(log_p.logsumexp(0), torch.zeros((), dtype=torch.float64))


def test_free_bits_and_warm_up():
    kl = torch.tensor([1.0, 3.0], requires_grad=True)
    assert torch.equal(free(kl, 0.0), kl) and torch.equal(free(kl, 1.5), kl)
    assert torch.equal(free(kl, 2.5), torch.tensor([2.5, 2.5]))
    config = make("vae", {"kl_warmup": 10}).config
    assert [warm(config, s) for s in (0, 5, 10, 50)] == [0, 0.5, 1, 1]
    assert warm(make("vae", {}).config, 0) == 1


def test_hvae_loss_is_its_bound():
    model = make("hvae", {"free_bits": 0.0, "kl_warmup": 0}).eval()
    b = batch()
    bound = model.bound(b.x, [b.stream(0), b.stream(1)])
    torch.testing.assert_close(model.loss(b), bound.total / (64 * math.log(2)))
    assert bound.prior.min() > 0 and bound.consistency.shape == (6, 1)
    half = make("hvae", {"free_bits": 0.0, "kl_warmup": 2000}).eval()
    expected = bound.reconstruction + 0.5 * (bound.total - bound.reconstruction)
    torch.testing.assert_close(half.loss(b), expected / (64 * math.log(2)), rtol=1e-4, atol=0)


def test_hvae_samples_depend_on_their_own_keys():
    model = make("hvae", {}).eval()
    keys = noise.keys(3, 5)
    x = model.sample(keys)
    assert x.shape == (5, 1, 8, 8)
    torch.testing.assert_close(model.sample(keys[1:3]), x[1:3])


def test_convolutions_need_sides_that_halve_twice():
    with pytest.raises(ValueError, match="net: expected sides that are multiples of 4 for conv"):
        make("vae", {"net": "conv"}, type(SPACE)((1, 6, 6), 17, 10))
    colour = type(SPACE)((3, 8, 12), 256, 2)
    model = make("vae", {"net": "conv"}, colour)
    assert model.decode(torch.zeros(2, 16)).shape == (2, 3, 8, 12)
