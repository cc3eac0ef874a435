"""Models, tables and loops that the sampling tests share."""

import numpy as np
import pytest
import torch

from fastdiff import grids, ops, schedules, solvers
from tests.support.helpers import native_only

# Where a solver of the registry may run: the first of these that accepts it is its home.
HOMES = [
    (schedules.VPLinear(), "eps"),
    (schedules.VPLinear(), "x0"),
    (schedules.RectifiedFlow(), "flow"),
    (schedules.EDM(), "x0"),
    (schedules.DiscreteBetas.linear(), "eps"),
]

SOLVERS = {name: solvers.get(name)() for name in solvers.names()}
# Those that need known data have their own tests (test_operands.py).
SOLVERS = {name: solver for name, solver in SOLVERS.items() if not solver.inpaints}
DETERMINISTIC = [name for name, solver in SOLVERS.items() if not solver.stochastic]
STOCHASTIC = [name for name, solver in SOLVERS.items() if solver.stochastic]


def home(name):
    """(schedule, prediction) on which the solver lowers."""
    for schedule, prediction in HOMES:
        try:
            SOLVERS[name].lower(schedule, 2, prediction=prediction)
        except ValueError:
            continue
        return schedule, prediction
    raise AssertionError(f"no home for {name}: add one to HOMES")


def table_of(name, steps=5, **options):
    schedule, prediction = home(name)
    return SOLVERS[name].lower(schedule, steps, prediction=prediction, **options)


TABLES = {name: table_of(name) for name in SOLVERS}


def kinds():
    """Solvers whose tables use, between them, every column of a row that any table uses."""
    used, names = set(), []
    for name, table in TABLES.items():
        columns = set(np.flatnonzero(table.rows.any(axis=0)))
        if columns - used:
            names.append(name)
            used |= columns
    return names


#: Every solver on native code, and one of each kind on the reference, which takes twenty times as
#: long; the rest of the product is slow. For a fixture ``backend`` that reads its parameter.
KINDS = kinds()
on_backends = pytest.mark.parametrize(
    ("backend", "name"),
    [
        *(pytest.param("native", name, marks=native_only) for name in SOLVERS),
        *(
            pytest.param("reference", name, marks=[pytest.mark.slow] * (name not in KINDS))
            for name in SOLVERS
        ),
    ],
    indirect=["backend"],
)


def model(x, t, shift=None):
    """Something nonlinear that IEEE arithmetic rounds in one way only, in any batch: the same bits
    for a sample wherever it is."""
    t = t.reshape(-1, *[1] * (x.dim() - 1)).to(x.dtype) / 1024
    out = x / (1 + x.abs()) + t * x / 4
    return out if shift is None else out + shift.reshape(t.shape).to(x.dtype)


def start(batch=3, shape=(7, 5), dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *shape, generator=g, dtype=torch.float64).to(dtype)


class Counting:
    """A model that remembers the batches it was called with."""

    def __init__(self, inner=model):
        self.inner, self.calls = inner, []

    def __call__(self, x, t, **cond):
        self.calls.append((x.clone(), t.clone(), cond))
        return self.inner(x, t, **cond)

    def __len__(self):
        return len(self.calls)


def use_reference(monkeypatch):
    """Sample with the reference op instead of the native executor."""
    monkeypatch.setattr(ops.select, "_chosen", "reference")


def finish(state, model=model):
    while not state.done:
        state.step(model(state.model_input, state.t))
    return state.x


class Gaussian:
    """Data N(mean, variance), per coordinate, and the exact model of it, per prediction."""

    mean, variance = 0.4, 0.25

    def __init__(self, table):
        self.table, self.calls = table, 0

    def __call__(self, x, t):
        """The k-th call is the k-th evaluation of the table, whose level it looks up."""
        self.calls += 1
        _, alpha, sigma, scale, _, out_x0, out_eps = self.table.levels[self.calls]
        v = alpha**2 * self.variance + sigma**2
        residual = x / scale - alpha * self.mean
        x0 = self.mean + alpha * self.variance / v * residual
        return out_x0 * x0 + out_eps * sigma / v * residual

    def std(self, k):
        """Of the noisy data at level k."""
        alpha, sigma = self.table.alpha[k], self.table.sigma[k]
        return np.sqrt(alpha**2 * self.variance + sigma**2)

    def flow(self, x):
        """Where the probability-flow ODE takes x, from the first level to the last."""
        first, last = self.table.alpha[[0, -1]]
        return last * self.mean + self.std(-1) / self.std(0) * (x - first * self.mean)


def interior(name, steps):
    """A table without its corner cases, for orders of convergence: lam from -1 to 2.5, uniform."""
    schedule = schedules.LogSNR((-5.0, 2.0))
    prediction = home(name)[1] if home(name)[1] in ("eps", "x0") else "x0"
    return SOLVERS[name].lower(schedule, steps, prediction=prediction, grid=grids.Uniform())
