"""Runs the schedulers of diffusers, and fastdiff's tables beside them, on a model of unit-variance
data with something nonlinear in it."""

import copy
import functools
import sys

import numpy as np
import pytest
import torch

from tests.host.interpreter import run

SHAPE = (1, 3, 4, 5)
#: Of what passes through float32 inside a scheduler.
SINGLE = 1e-5
#: Of what can be told to compute in float64.
DOUBLE = 1e-9


def start(scale=1.0):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return scale * x


@functools.cache
def _made(name, config):
    diffusers = pytest.importorskip("diffusers")
    return getattr(diffusers, name)(**dict(config))


def build(name, steps, **config):
    """A scheduler with its timesteps set. Some take a second to make, so they are copied."""
    scheduler = copy.deepcopy(_made(name, tuple(config.items())))
    scheduler.set_timesteps(steps)
    return scheduler


def widen(scheduler):
    """The scheduler with its float32 tables, exactly, as float64: it then computes in float64."""
    for name, value in vars(scheduler).items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            setattr(scheduler, name, value.double())
    return scheduler


def wave(y, t):
    return 0.3 * np.sin(3 * y + t)


def variance_preserving(table, prediction):
    """The model (y, timestep) -> output of a variance-preserving table, for torch and numpy."""

    def model(y, t):
        array = np.asarray(y, dtype=np.float64)
        t = float(np.clip(float(t), -1, table.t_max))
        alpha, sigma, v = table.alpha(t), table.sigma(t), wave(array, t / 200)
        out = {
            "eps": sigma * array + alpha * v,
            "x0": alpha * array - sigma * v,
            "v": v,
        }[prediction]
        return torch.from_numpy(out).to(y.dtype) if isinstance(y, torch.Tensor) else out

    return model


def velocity(y, t):
    """The model (y, sigma) -> eps - x0 of a rectified flow."""
    array, t = np.asarray(y, dtype=np.float64), float(t)
    out = (2 * t - 1) / ((1 - t) ** 2 + t**2) * array + wave(array, 5 * t)
    return torch.from_numpy(out).to(y.dtype) if isinstance(y, torch.Tensor) else out


def raw(y, t):
    """The network F(c_in x, c_noise) of EDM."""
    out = wave(np.asarray(y, dtype=np.float64), float(t))
    return torch.from_numpy(out).to(y.dtype) if isinstance(y, torch.Tensor) else out


class Draws:
    """Stands in for ``randn_tensor`` of a scheduler's module and remembers what it gave."""

    def __init__(self):
        self.given, self.generator = [], torch.Generator().manual_seed(5)

    def __call__(self, shape, *args, dtype=torch.float64, **options):
        self.given.append(torch.randn(tuple(shape), generator=self.generator, dtype=dtype))
        return self.given[-1]

    def number(self, n):
        return self.given[n - 1].double().numpy()


def theirs(monkeypatch, scheduler, model, x, times=None, **step):
    """The last sample of a scheduler with its timesteps set, and its draws."""
    draws = Draws()
    module = sys.modules[type(scheduler).__module__]
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", draws)
    scale = getattr(scheduler, "scale_model_input", lambda sample, t: sample)
    for t in scheduler.timesteps if times is None else times:
        out = model(scale(x, t), t)
        x = scheduler.step(out, t, x, **step).prev_sample
        assert torch.isfinite(x).all()
    return x.double().numpy(), draws


def ours(table, model, x, draws):
    """The last sample of a table, in float64."""
    return run(table.rows, model, x.double().numpy(), draws.number)[0]


def assert_same(mine, stock, tolerance=DOUBLE):
    gap = np.abs(mine - stock).max() / max(1.0, stock.std())
    assert gap <= tolerance, f"differs by {gap:.1e}"
