"""score_sde's conventions, restated from the paper's algorithm boxes (Song et al. 2021, algorithms
2 to 5, appendices C to F) in float64, and Gaussian data in closed form."""

import math
from types import SimpleNamespace

import torch

from fastdiff.integrations import score_sde as ours

SHAPE = (3, 2, 4, 5)
N, EPS, SNR = 12, 1e-3, 0.2


def like_theirs(name, **attributes):
    """An object as score_sde makes them: what counts is the name of the class."""
    return type(name, (SimpleNamespace,), {})(T=1, **attributes)


VP = like_theirs("VPSDE", beta_0=0.1, beta_1=6.0, N=N)
SUBVP = like_theirs("subVPSDE", beta_0=0.1, beta_1=6.0, N=N)
VE = like_theirs("VESDE", sigma_min=0.05, sigma_max=8.0, N=N)
SDES = {"VP": VP, "subVP": SUBVP, "VE": VE}


def integral(sde, t):
    return sde.beta_0 * t + (sde.beta_1 - sde.beta_0) * t**2 / 2


def std(sde, t):
    """Of p(x_t | x_0), eq. 29."""
    if sde is VE:
        return sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
    variance = 1 - math.exp(-integral(sde, t))
    return variance if sde is SUBVP else math.sqrt(variance)


def coefficients(sde, t):
    """(f / x, g^2) of the SDE, eqs. 30 to 32."""
    if sde is VE:
        return 0.0, 2 * std(sde, t) ** 2 * math.log(sde.sigma_max / sde.sigma_min)
    beta = sde.beta_0 + t * (sde.beta_1 - sde.beta_0)
    return -beta / 2, beta * (1 - math.exp(-2 * integral(sde, t)) if sde is SUBVP else 1)


def beta(sde, i):
    return (sde.beta_0 + (sde.beta_1 - sde.beta_0) * i / (sde.N - 1)) / sde.N


def level(sde, i):
    ratio = sde.sigma_max / sde.sigma_min
    return sde.sigma_min * ratio ** (i / (sde.N - 1)) if i >= 0 else 0.0


def score_fn(sde, model, continuous):
    """Appendix C: what a network's output is, and what it is told."""

    def score(x, t, i):
        labels = torch.full((len(x),), float(t * 999))
        if sde is VE:
            labels = torch.full((len(x),), std(sde, t) if continuous else sde.N - 1 - i)
            labels = labels if continuous else labels.long()
            return model(x.float(), labels).double()
        deviation = std(sde, t)
        if not continuous and sde is VP:
            labels = torch.full((len(x),), float(t * (sde.N - 1)))
            product = math.prod(1 - beta(sde, k) for k in range(i + 1))
            deviation = math.sqrt(1 - product)
        return -model(x.float(), labels).double() / deviation

    return score


def correct(sde, name, score, x, t, i, n_steps):
    """Algorithms 4 (VE) and 5 (VP) with norms averaged over the batch; "ald" with sigma(t)."""
    alpha = 1.0 if sde is VE else 1 - beta(sde, i)
    for _ in range(n_steps):
        grad, z = score(x, t, i), torch.randn(SHAPE).double()
        if name == "langevin":
            r = z.flatten(1).norm(dim=1).mean() / grad.flatten(1).norm(dim=1).mean()
        else:
            r = std(sde, t)
        a = 2 * alpha * (SNR * r) ** 2
        x = x + a * grad + (2 * a) ** 0.5 * z
    return x


def predict(sde, name, score, x, t, i, flow):
    """(x without noise, x) one step on. Eq. 47; algorithms 2 and 3; appendix F."""
    z, half = torch.randn(SHAPE).double(), 0.5 if flow else 1.0
    if name == "ancestral_sampling" and sde is VP:
        mean = (x + beta(sde, i) * score(x, t, i)) / math.sqrt(1 - beta(sde, i))
        return mean, mean + math.sqrt(beta(sde, i)) * z
    if sde is VE and name != "euler_maruyama":
        gap = level(sde, i) ** 2 - level(sde, i - 1) ** 2
        mean = x + gap * score(x, t, i) * half
        if name == "ancestral_sampling":
            return mean, mean + level(sde, i - 1) * math.sqrt(gap) / level(sde, i) * z
        return mean, mean + (0 if flow else math.sqrt(gap)) * z
    if name == "reverse_diffusion" and sde is VP:
        mean = (2 - math.sqrt(1 - beta(sde, i))) * x + beta(sde, i) * score(x, t, i) * half
        return mean, mean + (0 if flow else math.sqrt(beta(sde, i))) * z
    f, g2 = coefficients(sde, t)
    mean = x - (f * x - g2 * score(x, t, i) * half) / sde.N
    return mean, mean + (0 if flow else math.sqrt(g2 / sde.N)) * z


def published(sde, model, predictor, corrector, n_steps, flow, continuous, denoise):
    """Algorithm 1, with torch's default generator."""
    score = score_fn(sde, model, continuous)
    x = mean = (torch.randn(*SHAPE) * (sde.sigma_max if sde is VE else 1.0)).double()
    for k in range(sde.N):
        t, i = 1 + (EPS - 1) * k / (sde.N - 1), sde.N - 1 - k
        if corrector != "none":
            x = mean = correct(sde, corrector, score, x, t, i, n_steps)
        if predictor != "none":
            mean, x = predict(sde, predictor, score, x, t, i, flow)
    return mean if denoise and predictor != "none" else x


class Model(torch.nn.Module):
    """Near the score of N(0, 0.3), but not linear, and it tells its labels apart."""

    def __init__(self, sde, continuous=True):
        super().__init__()
        self.sde, self.continuous, self.labels = sde, continuous, []

    def forward(self, x, labels):
        assert x.dtype == torch.float32 and labels.shape == x.shape[:1] and not self.training
        assert labels.dtype == (
            torch.int64 if self.sde is VE and not self.continuous else torch.float32
        )
        self.labels.append(labels)
        labels = labels.float().reshape(-1, 1, 1, 1)
        if self.sde is not VE:
            return 0.8 * x + 0.1 * torch.sin(3 * x + labels)
        if not self.continuous:
            labels = self.sde.sigma_max * (self.sde.sigma_min / self.sde.sigma_max) ** (
                labels / (N - 1)
            )
        size = (0.3 + labels**2) ** 0.5
        return (0.1 * torch.cos(x / size) - x / size) / size


def identity(x):
    return x


def pc_sampler(sde, predictor, corrector, scaler=identity, n_steps=1, **options):
    return ours.get_pc_sampler(
        sde, SHAPE, predictor, corrector, scaler, SNR, n_steps, device="cpu", **options
    )


def close(mine, expected):
    error = (mine.double() - expected).abs().max() / max(1.0, float(expected.std()))
    assert error < 2e-5, float(error)


DATA = 0.3  # the variance of Gaussian data


def gaussian(sde, size=DATA):
    """The model of N(0, size) data, continuous."""

    def model(x, labels):
        sigma = labels if sde is VE else labels / 999
        alpha = torch.ones_like(sigma)
        if sde is not VE:
            B = integral(sde, sigma)
            alpha, sigma = torch.exp(-B / 2), (-torch.expm1(-B)) ** (1 if sde is SUBVP else 0.5)
        alpha, sigma = (v.reshape(-1, *[1] * (x.dim() - 1)) for v in (alpha, sigma))
        score = -x / (alpha**2 * size + sigma**2)
        return score if sde is VE else -sigma * score

    return model


def variance(sde, t):
    """Of x_t."""
    alpha2 = 1.0 if sde is VE else math.exp(-integral(sde, t))
    return alpha2 * DATA + std(sde, t) ** 2
