"""A scheduler of diffusers and a table on the very same noise levels."""

import importlib
import sys
import types

import numpy as np

from fastdiff.schedules import DiscreteBetas
from tests.host.stock import DOUBLE, assert_same, ours, start, theirs, variance_preserving, widen

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
BETAS = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
]
GRIDS = [
    {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"},
]


def mixed(grids):
    """With each another prediction."""
    return [(grid, ("eps", "v", "x0")[k % 3]) for k, grid in enumerate(grids)]


def levels_of(scheduler):
    """Its sigmas, noisy first, without a repeated last one."""
    sigmas = scheduler.sigmas.double().numpy()
    return sigmas[:-1] if sigmas[-1] == sigmas[-2] else sigmas


def on_its_levels(scheduler):
    """A schedule that has nothing but the levels of the scheduler, all times on it, and what the
    scheduler tells the model there."""
    levels = levels_of(scheduler)
    positive = levels[levels > 0]
    schedule = DiscreteBetas.from_alphas_cumprod(1 / (1 + positive[::-1] ** 2))
    times = np.arange(len(positive) - 1.0, -1 - (len(levels) > len(positive)), -1)
    told = dict(zip(times, scheduler.timesteps.tolist(), strict=False))
    return schedule, times, told


def compare(
    monkeypatch,
    name,
    solver,
    prediction,
    steps,
    *,
    tolerance=DOUBLE,
    numbers=None,
    clip=None,
    **config,
):
    """Run a scheduler and a solver side by side.

    Args:
        solver: one, or a function of ``told`` (``on_its_levels``) that makes one.
        numbers: a function of the table that says which of the scheduler's draws it uses.
        config: of the scheduler.
    """
    config = {**BETAS[steps % 2], "prediction_type": NAMES[prediction], **config}
    scheduler = getattr(importlib.import_module("diffusers"), name)(**config)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)  # else it looks for its timesteps, of which two may be the same
    schedule, times, told = on_its_levels(widen(scheduler))
    model = variance_preserving(DiscreteBetas.linear(), prediction)
    stock, draws = theirs(monkeypatch, scheduler, model, start())
    if callable(solver):
        solver = solver(told)
    table = solver.lower(schedule, None, prediction=prediction, grid=times, clip=clip)
    if numbers is not None:
        draws.given = [draws.given[k] for k in numbers(table)]
    assert_same(ours(table, lambda y, t: model(y, told[t]), start(), draws), stock, tolerance)


def without_torchsde(monkeypatch, module, name):
    """The class of a scheduler, without the Brownian trees that it would draw from."""
    if importlib.util.find_spec("torchsde") is None:
        monkeypatch.setitem(sys.modules, "torchsde", types.ModuleType("torchsde"))
    return getattr(importlib.import_module(f"diffusers.schedulers.scheduling_{module}"), name)
