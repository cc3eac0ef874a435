"""Data distributions whose samplers can be solved exactly."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from fastdiff.row import COLUMN, HISTORY
from fastdiff.schedules import LogSNR


class Mixture:
    """Two Gaussians in one dimension, variance preserving, lam from -1 to 2.5; an eps model."""

    weights, means = np.array([0.35, 0.65]), np.array([-1.2, 0.7])
    variances = np.array([0.25, 0.16])
    schedule = LogSNR((-5.0, 2.0))
    start = np.array([-1.7, -0.6, -0.15, 0.4, 1.3])

    def eps(self, x, t, schedule=None):
        schedule = schedule or self.schedule
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        v = alpha**2 * self.variances + sigma**2
        gap = x[:, None] - alpha * self.means
        r = self.weights * np.exp(-0.5 * gap**2 / v) / np.sqrt(v)
        r /= r.sum(axis=1, keepdims=True)
        return sigma * (r * gap / v).sum(axis=1)

    def flow_map(self, end=0.0):
        """Where the probability-flow ODE leads from ``start`` to: it preserves quantiles."""

        def cdf(x, t):
            alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
            scale = np.sqrt(alpha**2 * self.variances + sigma**2)
            return self.weights @ norm.cdf((x - alpha * self.means) / scale)

        target = [cdf(x, 1.0) for x in self.start]
        return np.array([brentq(lambda y, p=p: cdf(y, end) - p, -9, 9, xtol=1e-15) for p in target])


class Trimodal(Mixture):
    """Three of them, lam from -0.5 to 2.5, on a grid even in a time that bends."""

    weights, means = np.array([0.2, 0.5, 0.3]), np.array([-1.5, 0.1, 1.2])
    variances = np.array([0.1, 0.3, 0.2])
    schedule = LogSNR(lambda t: -5 + 5.2 * t + 0.8 * np.sin(2 * t))
    start = np.array([-1.4, -0.5, 0.1, 0.9])


def gaussian_variance(table, c):
    """Exact variance of the sample if the data are N(0, c) and the model (of eps) is exact.

    Everything is linear, so the state is a vector of coefficients of independent normals.
    """
    alpha, sigma = table.alpha, table.sigma
    draws = table.noise_draws
    state = {
        name: np.zeros(1 + draws) for name in ("x", "s", "o", *(f"h{k}" for k in range(HISTORY)))
    }
    state["x"][0] = np.sqrt(alpha[0] ** 2 * c + sigma[0] ** 2)
    for k, row in enumerate(table.rows[:-1]):
        field = dict(zip(COLUMN, row, strict=True))
        if k > 0:
            state["o"] = sigma[k] / (alpha[k] ** 2 * c + sigma[k] ** 2) * state["x"]
        new = {p: np.zeros(1 + draws) for p in "cd"}
        for p, mixture in new.items():
            for name, vector in state.items():
                if field[f"{p}_{name}"]:
                    mixture += field[f"{p}_{name}"] * vector
            draw = int(field["draw"])
            if field[f"{p}_z"]:
                mixture[draw] += field[f"{p}_z"]
            if field[f"{p}_zp"]:
                mixture[draw - 1] += field[f"{p}_zp"]
        if field["slot"] >= 0:
            remembered = field["e_x"] * state["x"] + field["e_o"] * state["o"]
            state[f"h{int(field['slot'])}"] = remembered
        state["x"] = new["c"]
        if new["d"].any():
            state["s"] = new["d"]
    return float(state["x"] @ state["x"])
