"""A stock scheduler and the fused one, set up alike."""

import copy
import functools
import sys
import warnings

import pytest
import torch
from diffusers.utils import logging

import fastdiff.integrations.diffusers as fused
from tests.integrations.cases import CASES
from tests.support.loops import set_steps, start, takes

# RePaintScheduler has operands, and tests, of its own
NAMES = [name for name in CASES if name in fused.SCHEDULERS]
TOLERANCE = 1e-4  # of a state of unit variance, in float32


def fields(config):
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in config.items())


@functools.cache
def made(name, config):
    """(stock, fused); some take a second to make."""
    twin = fused.SCHEDULERS[name]
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in config}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return twin.stock(**config), twin(**config)


def pair(name, config, steps):
    stock, ours = (copy.deepcopy(s) for s in made(name, fields(config)))
    logging.set_verbosity_error()  # about options that they change
    try:
        set_steps(stock, steps)
        set_steps(ours, steps)
    except (ValueError, ZeroDivisionError, RuntimeWarning):
        pytest.skip("the stock scheduler takes no such number of steps")
    return stock, ours


def widened(scheduler):
    """A copy whose float32 tables are float64, with the same numbers."""
    scheduler = copy.deepcopy(scheduler)
    for name, value in vars(scheduler).items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32 and name != "timesteps":
            setattr(scheduler, name, value.double())
    return scheduler


def in_single(monkeypatch, scheduler, dtype=torch.float32):
    """Make a stock scheduler's float64 run add the noise of its run in ``dtype``."""
    module = sys.modules[type(scheduler).__module__]
    if draw := getattr(module, "randn_tensor", None):
        drawn = fused.SCHEDULERS[type(scheduler).__name__].spec.dtypes.noise
        drawn = torch.promote_types(dtype, torch.float32) if drawn == "single" else drawn
        drawn = drawn if isinstance(drawn, torch.dtype) else dtype

        def rounded(shape, *args, dtype=None, **options):
            return draw(shape, *args, dtype=drawn, **options).to(dtype)

        monkeypatch.setattr(module, "randn_tensor", rounded)


class SmoothPath:
    """Stands in for torchsde's Brownian path, which is another one in another dtype, and one that
    takes notice of the last digit of a sigma."""

    def __init__(self, x, *args, **options):
        self.like = x

    def __call__(self, sigma, sigma_next):
        at = torch.arange(self.like.numel(), dtype=torch.float64).reshape(self.like.shape)
        begin, end = (float(f"{float(s):.4g}") ** 0.1 for s in (sigma, sigma_next))
        z = 1.5 * torch.sin(at * begin + 7 * end)
        return z.bfloat16().to(self.like.dtype)  # of numbers that all dtypes have


def smooth(monkeypatch):
    """Let all schedulers that walk on a Brownian path walk on a smooth one."""
    for module in list(sys.modules.values()):
        if module.__name__.startswith(("diffusers.schedulers", "fastdiff.integrations")):
            if "BrownianTreeNoiseSampler" in vars(module):
                monkeypatch.setattr(module, "BrownianTreeNoiseSampler", SmoothPath)


def plain(name):
    """The first configuration of a class that has no options of its own."""
    return next((c for c, options in CASES[name] if not options), {})


def distance(one, other):
    return float((one.double() - other.double()).abs().max())


def having(*methods):
    """Names of the classes with one of these methods."""
    return [n for n in NAMES if any(hasattr(fused.SCHEDULERS[n], m) for m in methods)]


def stepping_with(argument):
    """Names of the classes whose step takes an argument."""
    return [n for n in NAMES if takes(fused.SCHEDULERS[n], argument)]


def assert_like_stock(monkeypatch, stock, ours, run):
    """What ``run(scheduler, x)`` returns for both: the same numbers, or, where float32 has not been
    enough for the stock one, numbers that are as near to what it does in float64."""
    exact, x = widened(stock), start(stock)
    theirs, mine = run(stock, x), run(ours, x)
    gaps = gaps_between(mine, theirs)
    if max(gaps) > TOLERANCE:
        with monkeypatch.context() as patched:
            in_single(patched, exact)
            truth = run(exact, x.double())
        assert max(gaps_between(mine, truth)) <= max(gaps_between(theirs, truth))


def gaps_between(one, other):
    """The distances of all numbers in the results of two loops, by the size of the state."""
    assert len(one) == len(other)
    return [
        distance(a, b) / max(1.0, float(b.double().std()))
        for results in zip(one, other, strict=True)
        for a, b in zip(*map(values_of, results), strict=True)
    ]


def assert_equal(one, other):
    """Results of two loops, bit by bit; a NaN is as good as another."""
    assert len(one) == len(other)
    for results in zip(one, other, strict=True):
        for a, b in zip(*map(values_of, results), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def values_of(result):
    """The tensors in a result."""
    values = result if isinstance(result, tuple) else result.values()
    return tuple(value for value in values if isinstance(value, torch.Tensor))
