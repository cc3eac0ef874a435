"""DDPM, NCSN and the SDEs: losses and bounds against the definitions, and guidance."""

import math

import pytest
import torch

from fastdiff import elbo, losses, noise, schedules
from fastdiff.losses.batch import per_sample
from fastdiff.models import Batch, Guided, Space
from fastdiff.parameterization import PREDICTIONS, exact_output, read
from tests.models.members import SPACE, batch, images, make
from tests.support.oracles import Mixture


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_untrained_ddpm_pays_the_power_of_its_target(prediction):
    model = make("ddpm", {"prediction": prediction, "weight": prediction}, wake=False)
    b = batch()
    t = (b.u * 100).floor()
    levels = losses.levels(model.schedule, t, prediction)
    _, target = losses.noise_and_target(b.x, levels, b.stream(0))
    torch.testing.assert_close(model.loss(b), target.square().flatten(1).mean(1))


def test_terms_of_the_hybrid_loss_are_those_of_the_bound():
    """What the loss adds at timestep t, T times over, is term t of the bound."""
    model = make("ddpm", {"timesteps": 8, "variance": "learned", "prediction": "v"}).double().eval()
    x, keys = images(3, seed=4).double(), noise.keys(7, 3)
    bound = model.bound(x, keys, elbo.LearnedRange(), clip=None)
    with torch.no_grad():
        for i in range(8):
            t = torch.full((3,), float(i), dtype=torch.float64)
            levels = losses.levels(model.schedule, t, "v")
            x_t, _ = losses.noise_and_target(x, levels, noise.fold_in(keys, i))
            out, signed = model(x_t, t).chunk(2, dim=1)
            term = model._term(x, x_t, t, out, (signed + 1) / 2)
            expected = bound.reconstruction if i == 0 else bound.denoising[:, i - 1]
            torch.testing.assert_close(term, expected, rtol=1e-6, atol=1e-6)


def test_the_bound_teaches_the_variance_alone():
    model = make("ddpm", {"variance": "learned", "vlb": 1.0})
    simple = make("ddpm", {"variance": "learned", "vlb": 0.0})
    grads = []
    for m in (model, simple):
        m.loss(batch()).mean().backward()
        weight = m.net.out.weight.grad.reshape(2, 64, -1)
        grads.append((weight[0], weight[1]))
    torch.testing.assert_close(grads[0][0], grads[1][0])
    assert grads[1][1].abs().max() == 0 and grads[0][1].abs().max() > 0


@pytest.mark.parametrize("prediction", PREDICTIONS[:4])
def test_preconditioning_keeps_the_meaning_of_the_prediction(prediction):
    """On the variance-exploding schedule: a network that says the unit-scale target exactly gives
    the exact output."""
    model = make("sde", {"process": "ve", "prediction": prediction}).double()
    x0, eps = images(4).double(), torch.randn(4, 1, 8, 8, dtype=torch.float64)
    t = torch.tensor([0.1, 0.4, 0.7, 1.0], dtype=torch.float64)
    sigma = per_sample(model.schedule.sigma(t), x0)
    kappa = (1 + sigma**2).sqrt()
    seen = []

    def exact(x, u, y):
        seen.append(x)
        return (eps - sigma * x0) / kappa

    model.net.forward = exact
    out = model(x0 + sigma * eps, t)
    a, b = (per_sample(v, x0) for v in exact_output(prediction, model.schedule, t))
    torch.testing.assert_close(out, a * x0 + b * eps)
    torch.testing.assert_close(seen[0], (x0 + sigma * eps) / kappa)
    torch.testing.assert_close(model.denoise(x0 + sigma * eps, t).x0, x0)


@pytest.mark.parametrize("weight", ["elbo", "sigmoid"])
@pytest.mark.parametrize("process", ["vp", "subvp", "ve"])
def test_importance_sampling_keeps_the_mean_loss(process, weight):
    """Uniform times and times uniform in log SNR integrate the same weighted loss."""
    settings = {"process": process, "prediction": "eps", "weight": weight}
    plain, important = (make("sde", settings | {"times": t}) for t in ("uniform", "log-snr"))
    n = 4001
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    weighting, means = losses.weights.find(weight), []
    for model in (plain, important):
        t, importance = model.times(u)
        # ||x0 - x0_hat||^2 of a Gaussian's best denoiser: falls with the SNR, so the integral is
        # finite
        mmse = 1 / (1 + losses.weights.snr(model.schedule, t))
        means.append((importance * weighting(model.schedule, t) * mmse).mean().item())
    span = plain.schedule.t_max - plain.schedule.t_smallest
    low, high = (float(plain.schedule.lam(t)) for t in
                 (plain.schedule.t_largest, plain.schedule.t_smallest))  # fmt: skip
    assert means[1] == pytest.approx(means[0], rel=1e-2)
    if weight == "elbo":
        exact = 0.5 * math.log((1 + math.exp(2 * high)) / (1 + math.exp(2 * low)))
        assert means[1] * span == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("objective", ["denoising", "sliced"])
def test_ncsn_learns_the_score_of_a_gaussian(objective):
    """Images of one grey pixel pair ~ N(0, 0.25): the score at sigma is -x / (0.25 + sigma^2)."""
    space = Space((1, 1, 2), 256, 1)
    settings = {"levels": 3, "sigma_min": 0.3, "sigma_max": 1.2, "objective": objective}
    model = make("ncsn", settings | {"hidden": 32}, space, wake=False)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    rng = torch.Generator().manual_seed(0)
    for step in range(250 if objective == "denoising" else 500):
        x, u = 0.5 * torch.randn((128, 1, 1, 2), generator=rng), torch.rand(128, generator=rng)
        b = Batch(x, torch.zeros(128), u, noise.keys(1000 * step, 128))
        optimizer.zero_grad()
        model.loss(b).mean().backward()
        optimizer.step()
    x = torch.linspace(-1, 1, 7).reshape(-1, 1, 1, 1).expand(-1, 1, 1, 2)
    for time in model.times:
        t = time.expand(7)
        sigma = float(model.schedule.sigma(time))
        expected = -x / (0.25 + sigma**2)
        error = (model.score(x, t) - expected).abs().max()
        assert error < 0.3 * expected.abs().max()


class OneOfTwo:
    """The exact networks of the mixture: unconditional, conditional, and p(y | x_t)."""

    mixture = Mixture()

    def __init__(self, schedule, prediction):
        self.schedule, self.prediction = schedule, prediction

    def _out(self, x, t, eps):
        r = read(self.prediction, self.schedule, t)
        if self.prediction == "eps":
            return eps
        return (eps - per_sample(r.eps_x, x) * x) / per_sample(r.eps_out, x)

    def __call__(self, x, t, y=None):
        if y is None:
            return self._out(x, t, self.mixture.eps_model(self.schedule)(x, t))
        mean, c = (x.new_tensor(v)[y][:, None] for v in (Mixture.means, Mixture.variances))
        alpha, sigma = (f(t)[:, None] for f in (self.schedule.alpha, self.schedule.sigma))
        return self._out(x, t, sigma * (x - alpha * mean) / (alpha**2 * c + sigma**2))

    def gradient(self, x, t, y):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            alpha, sigma = (f(t)[:, None, None] for f in (self.schedule.alpha, self.schedule.sigma))
            log_joint = self.mixture._parts(x, alpha, sigma)[0].squeeze(1)
            chosen = log_joint.log_softmax(1).gather(1, y[:, None]).sum()
            return torch.autograd.grad(chosen, x)[0]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    "schedule",
    [schedules.VPLinear(), schedules.VE(sigma_max=5.0), schedules.RectifiedFlow()],
    ids=lambda s: type(s).__name__,
)
def test_classifier_guidance_is_classifier_free_guidance(schedule, prediction):
    """With an exact classifier: score + scale grad log p(y | x) = (1 - scale) u + scale c."""
    exact = OneOfTwo(schedule, prediction)
    x = torch.linspace(-2, 2, 8, dtype=torch.float64)[:, None]
    t = torch.linspace(0.2, 0.9, 8, dtype=torch.float64)
    y = torch.arange(8) % 2
    for scale in (0.0, 1.0, 3.0):
        guided = Guided(exact, exact, scale)(x, t, y)
        expected = (1 - scale) * exact(x, t) + scale * exact(x, t, y)
        torch.testing.assert_close(guided, expected, rtol=1e-10, atol=1e-10)
    both = Guided(exact, exact, 1.0, conditional=True)(x, t, y)
    torch.testing.assert_close(both, 2 * exact(x, t, y) - exact(x, t), rtol=1e-10, atol=1e-10)


class Constant(torch.nn.Module):
    """A denoiser that says nothing, and a classifier that always points up."""

    schedule, prediction = schedules.VPCosine(), "v"

    def forward(self, x, t):
        return torch.zeros_like(x)

    def gradient(self, x, t, y):
        return torch.ones_like(x)


def test_guidance_at_pure_noise_moves_nothing():
    x, t = torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0.5, 1.0], dtype=torch.float64)
    moved = Guided(Constant(), Constant(), 2.0)(x, t, torch.tensor([0, 1]))
    # v = alpha eps - sigma x0; eps falls by 2 sigma, x0 rises by 2 sigma^2 / alpha
    assert torch.allclose(moved[0], torch.full((3,), -2.0).double()) and not moved[1].any()


def test_gradient_of_the_classifier():
    model = make("classifier", {}).double().eval()
    x, t, y = images(3).double(), torch.tensor([0.1, 0.5, 0.9]).double(), torch.tensor([1, 2, 3])
    step = 1e-5 * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()

    def log_p(x):
        return model(x, t).log_softmax(1).gather(1, y[:, None])[:, 0]

    numeric = log_p(x + step) - log_p(x - step)
    analytic = 2 * (model.gradient(x, t, y) * step).flatten(1).sum(1)
    torch.testing.assert_close(analytic, numeric, rtol=1e-6, atol=1e-12)
    assert SPACE.classes == model(x, t).shape[1]
