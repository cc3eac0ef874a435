"""Whole runs against exact solutions, for every solver of the registry."""

import numpy as np
import pytest
import torch

import fastdiff as fd
from tests.support.helpers import assert_within
from tests.support.toy import (
    DETERMINISTIC,
    SOLVERS,
    STOCHASTIC,
    TABLES,
    Gaussian,
    interior,
    start,
    table_of,
)


class Point:
    """An exact model of the one data point x0, for any prediction and input scale."""

    def __init__(self, table, x0):
        self.table, self.x0, self.calls = table, x0, 0

    def __call__(self, x, t):
        self.calls += 1
        _, alpha, sigma, scale, time, out_x0, out_eps = self.table.levels[self.calls]
        assert (t.double() - time).abs().max() <= 1e-6 * abs(time)
        eps = (x / scale - alpha * self.x0) / sigma
        return out_x0 * self.x0 + out_eps * eps


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_point_mass(name, dtype, error):
    """If the data are one point, the sample is that point."""
    if SOLVERS[name].prediction_target == "eps":
        error *= 7  # a difference of old outputs: sum |b| of Adams-Bashforth 4 is 160 / 24
    for steps in (1, 2, 7):
        table = table_of(name, steps)
        if table.exact_on_point_mass == "none" or table.sigma[-1] != 0:
            continue
        x0 = start(seed=1, dtype=dtype)
        x = table.alpha[0] * x0 + table.sigma[0] * start(dtype=dtype)
        sample = fd.sample(Point(table, x0), x, table)
        assert_within(sample, table.alpha[-1] * x0, error * float(x.abs().max()), name)


def errors(name, steps):
    found = []
    for n in steps:
        table = interior(name, n)
        data = Gaussian(table)
        x = start(dtype=torch.float64)
        found.append(float((fd.sample(data, x, table) - data.flow(x)).abs().max()))
        assert data.calls == table.nfe
    return found


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_gaussian_data_at_the_declared_order(name):
    """Two doublings of the number of steps; the exact map is affine."""
    slopes = -np.diff(np.log2(errors(name, (40, 80, 160))))
    assert (slopes > SOLVERS[name].convergence - 0.2).all(), slopes


def coefficients(table, dtype=torch.float64):
    """[1 + draws]: the sample as a linear function of (initial normal, draw 1, ...) about its mean,
    by sampling with unit vectors for noise. The last element of x carries the mean."""
    basis = torch.eye(1 + table.noise_draws, 2 + table.noise_draws, dtype=dtype)
    data = Gaussian(table)
    x = table.alpha[0] * data.mean + data.std(0) * basis[:1]
    sample = fd.sample(data, x, table, noise=basis[1:, None])[0]
    return sample[-1], sample[:-1] - sample[-1]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_law_of_gaussian_samples(name):
    """Mean and variance of many samples, against the exact ones of this table: five sigma."""
    table = interior(name, 8)
    mean, factors = coefficients(table)
    variance = float(factors @ factors)
    data, x = Gaussian(table), fd.noise.normal(fd.noise.keys(10**6, 4096), (16,))
    x = (table.alpha[0] * data.mean + data.std(0) * x).float()
    sample = fd.sample(data, x, table, seeds=1).double()
    assert abs(sample.mean() - mean) < 5 * np.sqrt(variance / sample.numel())
    assert abs(sample.var() / variance - 1) < 5 * np.sqrt(2 / sample.numel())


@pytest.mark.parametrize("name", [n for n in STOCHASTIC if SOLVERS[n].convergence > 0])
def test_variance_of_gaussian_data(name):
    """The exact variance of the samples goes to that of the data, at the declared rate."""
    error = []
    for steps in (40, 80, 160):
        table = interior(name, steps)
        mean, factors = coefficients(table)
        data = Gaussian(table)
        error.append(abs(float(factors @ factors) / data.std(-1) ** 2 - 1))
        assert abs(mean - table.alpha[-1] * data.mean) < 0.1
    assert (-np.diff(np.log2(error)) > SOLVERS[name].convergence - 0.3).all(), error


@pytest.mark.parametrize("name", SOLVERS)
def test_one_call_for_each_evaluation(name):
    table = TABLES[name]
    data = Gaussian(table)
    fd.sample(data, start(), table)
    assert data.calls == table.nfe
