"""What steps are told as their timestep: numbers of all kinds, and timesteps that are there more
than once."""

import warnings

import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.integrations.cases import FLOW, KARRAS
from tests.integrations.moves import Loop, gap, outcome, stock_steps
from tests.support.loops import start
from tests.support.twins import NAMES, TOLERANCE, distance, pair, plain, smooth

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]
STEPS = 6
KINDS = {
    "int": lambda t: int(t),
    "float": lambda t: float(t),
    "numpy": lambda t: t.numpy()[()],
    "numpy 0-d": lambda t: t.numpy(),
    "numpy int64": lambda t: np.int64(t),
    "0-d": lambda t: t.clone(),
    "0-d int64": lambda t: t.long(),
    "0-d int16": lambda t: t.to(torch.int16),
    "0-d float64": lambda t: t.double(),
    "1-d": lambda t: t[None],
}


def names(*short):
    """All classes, those of a short run and the others."""
    return [pytest.param(n, marks=() if n in short else pytest.mark.slow) for n in NAMES]


@pytest.mark.parametrize(
    "name",
    names(
        "DDPMScheduler",
        "CogVideoXDPMScheduler",
        "EulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "LCMScheduler",
        "UniPCMultistepScheduler",
    ),
)
def test_timesteps_of_all_kinds(monkeypatch, name):
    """The results of stock, or an error of the same type; one warning if the stock step is used.

    Where the stock scheduler cannot use a number as an index, its results are those from the same
    timestep as a tensor.
    """
    smooth(monkeypatch)
    for kind, told in {"view": lambda t: t, **KINDS}.items():
        stock, ours = pair(name, plain(name), STEPS)
        with stock_steps(ours) as left:
            mine, said, _ = outcome(ours, start(stock), three_steps(told))
        theirs, *_ = outcome(stock, start(stock), three_steps(told))
        if kind == "view":
            viewed = theirs
        further = len(mine.results) > len(theirs.results)
        if further and theirs.error in (IndexError, TypeError):
            assert mine.error in (None, theirs.error)
            theirs.results, mine.error = viewed.results[: len(mine.results)], theirs.error
        assert mine.error is theirs.error, kind
        assert len(said) == bool(left), (kind, said, left)
        assert gap(mine.results, theirs.results) <= 5 * TOLERANCE, kind


def three_steps(told):
    def change(loop):
        every = loop.scheduler.timesteps
        for k, t in enumerate(every[:3]):
            loop.step(told(t), every[k + 1] if k + 1 < len(every) else None)

    return change


def repeat(scheduler, k):
    """Timestep k again in the place of the one after it."""
    scheduler.timesteps = scheduler.timesteps.clone()
    scheduler.timesteps[k + 1] = scheduler.timesteps[k]


@pytest.mark.parametrize("k", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_timesteps_that_are_there_twice(monkeypatch, name, k):
    """As stock, or a warning that says what is different."""
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), STEPS)
    k = min(k, len(stock.timesteps) - 2)

    def change(loop):
        repeat(loop.scheduler, k)
        loop.steps()

    x = start(stock)
    with stock_steps(ours) as left:
        mine, said, others = outcome(ours, x, change)
    theirs, *_ = outcome(stock, x, change)
    assert bool(said) == bool(left) and len(set(said)) == len(said) <= 2, (said, left)
    if any("done in turn" in text for text in others):
        return  # with results of its own
    assert mine.error is theirs.error
    assert gap(mine.results, theirs.results) <= 5 * TOLERANCE


def test_every_step_of_a_flow_map_is_done():
    """Velocity 1 along sigmas of which one is there twice leads from 0.9 to 0, by -0.9."""
    sigmas = [0.9, 0.9, 0.5, 0.1]
    ours = fused.FlowMapEulerDiscreteScheduler()
    ours.set_timesteps(sigmas=sigmas)
    x = torch.zeros(2, 3)
    with pytest.warns(UserWarning, match="there 2 times, .* done in turn"):
        for t in ours.timesteps:
            x = ours.step(torch.ones(2, 3), t, x).prev_sample
    assert distance(x, torch.full((2, 3), -0.9)) <= 1e-6


COSINE = {"beta_schedule": "squaredcos_cap_v2", **KARRAS}
TWICE_AT_FIRST = [
    ("DPMSolverMultistepScheduler", COSINE, 20),
    ("UniPCMultistepScheduler", {**FLOW, "flow_shift": 17.0}, 100),
    ("SASolverScheduler", COSINE, 20),
]


@pytest.mark.parametrize(("name", "config", "steps"), TWICE_AT_FIRST)
def test_a_loop_that_will_be_too_long_is_told_at_its_first_step(name, config, steps):
    stock, ours = pair(name, config, steps)
    first = stock.timesteps[:2].tolist()
    assert first[0] == first[1]
    x = start(ours)
    with pytest.warns(UserWarning, match=r"more than once.*set_begin_index\(0\)"):
        ours.step(x, ours.timesteps[0], x)
    for scheduler in pair(name, config, steps):
        loop = Loop(scheduler, x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loop.steps()
        assert loop.error is not None and len(loop.results) == steps - 1


@pytest.mark.parametrize(("name", "config", "steps"), TWICE_AT_FIRST)
def test_what_the_warning_says_helps(name, config, steps):
    ends = []
    for scheduler in pair(name, config, steps):
        scheduler.set_begin_index(0)
        loop = Loop(scheduler, start(scheduler))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loop.steps()
        assert loop.error is None and len(loop.results) == steps
        ends.append(loop.x)
    assert distance(*ends) <= 10 * TOLERANCE


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize(("steps", "karras"), [(4, False), (10, True), (20, True)])
def test_two_stages_from_large_sigmas_end_as_those_of_stock(steps, karras):
    """Also where that is an error, or NaN; float32 rounds in units of what the loop starts from."""
    config = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": karras}
    stock, ours = pair("KDPM2AncestralDiscreteScheduler", config, steps)
    x = start(stock)
    mine, theirs = (outcome(s, x, lambda loop: loop.steps())[0] for s in (ours, stock))
    assert mine.error is theirs.error and len(mine.results) == len(theirs.results)
    assert torch.equal(torch.isfinite(mine.x), torch.isfinite(theirs.x))
    assert distance(mine.x.nan_to_num(), theirs.x.nan_to_num()) <= TOLERANCE * float(x.std())
