"""A scheduler of diffusers and a table on the very same noise levels."""

import importlib
import sys
import types

import numpy as np

from fastdiff.schedules import DiscreteBetas


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


def without_torchsde(monkeypatch, module, name):
    """The class of a scheduler, without the Brownian trees that it would draw from."""
    if importlib.util.find_spec("torchsde") is None:
        monkeypatch.setitem(sys.modules, "torchsde", types.ModuleType("torchsde"))
    return getattr(importlib.import_module(f"diffusers.schedulers.scheduling_{module}"), name)
