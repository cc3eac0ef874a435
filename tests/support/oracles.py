"""Data whose every quantity is known in closed form, in float64 PyTorch."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from fastdiff.elbo import Estimate
from fastdiff.losses.batch import per_sample


def cubature(n):
    """[2 n, n] points with equal weights: the mean of a cubic polynomial over them is its mean
    over N(0, I). So expectations of quadratic losses over Gaussian data and noise are sums."""
    eye = torch.eye(n, dtype=torch.float64) * n**0.5
    return torch.cat([eye, -eye])


@dataclass(frozen=True)
class GaussianData:
    """x0 ~ N(mean, c) in every dimension, and the exact network for any schedule."""

    mean: float = 0.4
    c: float = 0.3

    def x0_hat(self, x, alpha, sigma):
        v = alpha**2 * self.c + sigma**2
        return self.mean + alpha * self.c / v * (x - alpha * self.mean)

    def eps_hat(self, x, alpha, sigma):
        return sigma * (x - alpha * self.mean) / (alpha**2 * self.c + sigma**2)

    def denoiser(self, schedule):
        def denoise(x, t):
            alpha, sigma = (per_sample(f(t), x) for f in (schedule.alpha, schedule.sigma))
            return Estimate(self.x0_hat(x, alpha, sigma))

        return denoise

    def eps_model(self, schedule):
        """As called by samplers; the schedule's model time must be its time."""

        def model(x, t):
            alpha, sigma = (per_sample(f(t), x) for f in (schedule.alpha, schedule.sigma))
            return self.eps_hat(x, alpha, sigma)

        return model

    def log_prob(self, x, alpha=1.0, sigma=0.0):
        v = alpha**2 * self.c + sigma**2
        density = torch.distributions.Normal(alpha * self.mean, v**0.5)
        return density.log_prob(x).flatten(1).sum(1)

    def flow(self, x, start, end):
        """The probability-flow map from the levels ``start`` to ``end``, pairs (alpha, sigma)."""
        (a, s), (b, r) = start, end
        ratio = (b**2 * self.c + r**2) / (a**2 * self.c + s**2)
        return b * self.mean + ratio**0.5 * (x - a * self.mean)


class Mixture:
    """Two Gaussians in one dimension; vectors of samples are [B, 1]."""

    weights, means = (0.35, 0.65), (-1.2, 0.7)
    variances = (0.25, 0.16)
    points = torch.tensor([[-1.7], [-0.6], [-0.15], [0.4], [1.3]], dtype=torch.float64)

    def _parts(self, x, alpha, sigma):
        w, m, c = (x.new_tensor(v) for v in (self.weights, self.means, self.variances))
        v = alpha**2 * c + sigma**2
        gap = x[..., None] - alpha * m
        return torch.log(w) - 0.5 * (gap**2 / v + torch.log(2 * torch.pi * v)), gap, v

    def log_prob(self, x, alpha=1.0, sigma=0.0):
        return torch.logsumexp(self._parts(x, alpha, sigma)[0], -1).flatten(1).sum(1)

    def eps_model(self, schedule):
        def model(x, t):
            alpha, sigma = (f(t).reshape(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
            log_r, gap, v = self._parts(x, alpha, sigma)
            return (torch.softmax(log_r, -1) * gap / v).sum(-1) * sigma[..., 0]

        return model

    def flow(self, x, start, end):
        """The probability-flow map: it preserves quantiles."""

        def cdf(value, level):
            alpha, sigma = level
            scale = np.sqrt(alpha**2 * np.array(self.variances) + sigma**2)
            return np.array(self.weights) @ norm.cdf((value - alpha * np.array(self.means)) / scale)

        targets = [cdf(value, start) for value in x.flatten().tolist()]
        roots = [brentq(lambda y, p=p: cdf(y, end) - p, -90, 90, xtol=1e-15) for p in targets]
        return torch.tensor(roots, dtype=x.dtype).reshape(x.shape)
