"""Loops that are not gone through once from beginning to end: the count of steps is moved, the
timesteps are replaced, the batch changes. The stock scheduler goes on with what it remembers."""

import copy

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.integrations.moves import counter_of, gap, middle_of, outcome, stock_steps
from tests.support.loops import set_steps
from tests.support.loops import start as start_of
from tests.support.twins import NAMES, TOLERANCE, in_single, pair, plain, smooth, values_of, widened

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6


def moved_by(by):
    """The count, and the timesteps with it."""

    def run(loop):
        at = middle_of(loop.scheduler)
        loop.steps(last=at)
        loop.handed = loop.handed[: max(0, at + by)]
        name = counter_of(loop.scheduler)
        if name is not None and loop.error is None:
            setattr(loop.scheduler, name, getattr(loop.scheduler, name) + by)
        loop.steps(max(0, at + by))

    return run


def searched(loop):
    """The count is looked up again."""
    at = middle_of(loop.scheduler)
    loop.steps(last=at)
    if counter_of(loop.scheduler) == "_step_index":
        loop.scheduler._step_index = None
    loop.steps(at)


def zigzag(loop):
    """Each step but the first is done twice."""
    loop.steps(last=1)
    name = counter_of(loop.scheduler)
    for k in range(1, min(4, len(loop.scheduler.timesteps))):
        loop.steps(k, k + 1)
        loop.handed = loop.handed[:-1]
        if name is not None and loop.error is None:
            setattr(loop.scheduler, name, getattr(loop.scheduler, name) - 1)
        loop.steps(k, k + 1)


def again(loop):
    """A second loop, with the count set back and nothing else."""
    loop.steps()
    name = counter_of(loop.scheduler)
    if name is not None:
        setattr(loop.scheduler, name, None if name == "_step_index" else 0)
    loop.handed = []
    loop.steps()


def from_begin_index(loop):
    """A count that is told where to go, in the middle."""
    loop.steps(last=middle_of(loop.scheduler))
    if hasattr(loop.scheduler, "set_begin_index"):
        loop.scheduler.set_begin_index(1)
        loop.scheduler._step_index = None
    loop.handed = loop.handed[:1]
    loop.steps(1)


def anew(loop):
    """Timesteps that are set in the middle of a loop."""
    loop.steps(last=middle_of(loop.scheduler))
    set_steps(loop.scheduler, STEPS)
    loop.handed = []
    loop.steps()


def first_ones_cut(loop):
    loop.scheduler.timesteps = loop.scheduler.timesteps[2:]
    loop.steps()


def last_ones_cut(loop):
    loop.scheduler.timesteps = loop.scheduler.timesteps[:-2]
    loop.steps()


def replaced_on_the_way(loop):
    middle = middle_of(loop.scheduler)
    loop.steps(last=middle)
    loop.scheduler.timesteps = loop.scheduler.timesteps.clone()
    loop.steps(middle)


def shrunk(loop):
    middle = middle_of(loop.scheduler)
    loop.steps(last=middle)
    loop.x = loop.x[:1]
    loop.handed = [kept(r, lambda v: v[:1]) for r in loop.handed]
    loop.steps(middle)


def grown(loop):
    middle = middle_of(loop.scheduler)
    loop.x = loop.x[:1]
    loop.steps(last=middle)
    loop.x = torch.cat([loop.x, loop.x])
    loop.handed = [kept(r, lambda v: torch.cat([v, v])) for r in loop.handed]
    loop.steps(middle)


def kept(result, change):
    """The tensors of a result, changed."""
    return tuple(map(change, values_of(result)))


CHANGES = [
    moved_by(-1),
    moved_by(-3),
    moved_by(1),
    searched,
    zigzag,
    again,
    from_begin_index,
    anew,
    first_ones_cut,
    last_ones_cut,
    replaced_on_the_way,
    shrunk,
    grown,
]
SHORT, SLOW = ("back", "again", "shrunk", "last_ones_cut"), pytest.mark.slow
IDS = ["back", "to the first", "forward", *(change.__name__ for change in CHANGES[3:])]


def cases():
    """All classes and changes; in a short run those that remember most."""
    for name in NAMES:
        for case, change in zip(IDS, CHANGES, strict=True):
            often = fused.SCHEDULERS[name].spec.multistep and case in SHORT
            yield pytest.param(name, change, id=f"{name}-{case}", marks=() if often else SLOW)


@pytest.mark.parametrize(("name", "change"), list(cases()))
def test_the_stock_scheduler_does_the_same(monkeypatch, name, change):
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), STEPS)
    exact, x = widened(stock), start_of(stock)
    with stock_steps(ours) as left:
        mine, said, _ = outcome(ours, x, change)
    theirs, *_ = outcome(stock, x, change)
    assert mine.error is theirs.error
    assert len(said) == bool(left), (said, left)
    if gap(mine.results, theirs.results) > TOLERANCE:
        in_single(monkeypatch, exact)
        truth, *_ = outcome(exact, x.double(), change)
        if truth.error is theirs.error:
            assert gap(mine.results, truth.results) <= 1.2 * gap(theirs.results, truth.results)
        else:
            raise AssertionError(gap(mine.results, theirs.results))


LOOK_BACK = [name for name in NAMES if fused.SCHEDULERS[name].spec.multistep]


def swapped_by(swap):
    def change(loop):
        middle = middle_of(loop.scheduler)
        loop.steps(last=middle)
        loop.scheduler = swap(loop.scheduler)
        loop.steps(middle)

    return change


@pytest.mark.parametrize("name", LOOK_BACK)
def test_swaps_in_the_middle_of_a_loop(monkeypatch, name):
    """Neither restored nor accelerated schedulers forget what came before."""
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), STEPS)
    x = start_of(stock)
    if hasattr(ours, "_increment"):
        pytest.skip("torchsde's paths cannot be copied, nor can those of the stock scheduler")
    begun, *_ = outcome(ours, x, swapped_by(fused.restore))
    theirs, *_ = outcome(copy.deepcopy(stock), x, lambda loop: loop.steps())
    ended, *_ = outcome(stock, x, swapped_by(lambda s: fused.accelerate(s, report=None)))
    for loop in (begun, ended):
        assert loop.error is None
        assert gap(loop.results, theirs.results) <= 5 * TOLERANCE
