"""Loops that are not gone through once from beginning to end: the count of steps is moved, the
timesteps are replaced, the batch changes. The stock scheduler goes on with what it remembers."""

import warnings

import pytest
import torch
from loops import model_for, set_steps, takes
from loops import start as start_of
from step_calls import CALLS, plainly
from twins import NAMES, TOLERANCE, distance, in_single, pair, plain, smooth, values_of, widened

import fastdiff.integrations.diffusers as fused

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6
every = pytest.mark.parametrize("name", NAMES)


def counter_of(scheduler):
    """The attribute in which a scheduler counts its steps, or None."""
    return fused.SCHEDULERS[type(scheduler).__name__]._counter


def middle_of(scheduler):
    return min(3, len(scheduler.timesteps) - 1)


class Loop:
    """Steps of a scheduler, one by one, until there is an error.

    Attributes:
        x: the sample.
        results: of the steps.
        error: the type of the error, or None.
    """

    def __init__(self, scheduler, x):
        self.scheduler, self.x, self.results, self.error = scheduler, x, [], None
        self.model, self.generator = model_for(scheduler), torch.Generator().manual_seed(3)
        self.handed = []  # the results of which the caller keeps something

    def step(self, t, after=None):
        """A step from timestep t; ``after``: the one to which it goes, if it is to be told."""
        scheduler, name = self.scheduler, type(self.scheduler).__name__
        if self.error is not None:
            return
        options = {"generator": self.generator} if takes(scheduler, "generator") else {}
        if name == "UnCLIPScheduler":
            options["prev_timestep"] = after
        scale = getattr(scheduler, "scale_model_input", lambda sample, t: sample)
        every = scheduler.timesteps
        told = t
        if name == "DDPMWuerstchenScheduler" and isinstance(t, torch.Tensor):
            told = t.expand(len(self.x))
        try:
            out = self.model(scale(self.x, t), float(t))
            call = CALLS.get(name, plainly)
            result = call(scheduler, out, told, self.x, self.handed, every, options)
        except Exception as error:
            self.error = type(error)
            return
        self.x = result["prev_sample"] if hasattr(result, "prev_sample") else result[0]
        self.results.append(result)
        self.handed.append(result)

    def steps(self, first=0, last=None):
        every = self.scheduler.timesteps
        last = len(every) if last is None else last
        for k in range(first, last):
            self.step(every[k], every[k + 1] if k + 1 < len(every) else None)


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
IDS = ["back", "to the first", "forward", *(change.__name__ for change in CHANGES[3:])]


def outcome(scheduler, x, change):
    """The loop, and the warnings about stock steps."""
    torch.manual_seed(0)  # for schedulers that draw without a generator
    loop = Loop(scheduler, x)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        change(loop)
    return loop, [str(w.message) for w in seen if w.category is fused.StockStepWarning]


def gap(results, others):
    """The greatest distance of two lists of results, by the size of the state; infinite where one
    is finite and the other is not."""
    largest = 0.0
    for one, other in zip(results, others, strict=True):
        for a, b in zip(*map(values_of, (one, other)), strict=True):
            assert a.shape == b.shape
            finite = torch.isfinite(a) & torch.isfinite(b)
            if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
                return float("inf")
            if finite.any():
                size = max(1.0, float(b[finite].double().square().mean().sqrt()))
                largest = max(largest, distance(a[finite], b[finite]) / size)
    return largest


@pytest.mark.parametrize("change", CHANGES, ids=IDS)
@every
def test_the_stock_scheduler_does_the_same(monkeypatch, name, change):
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), STEPS)
    exact, x = widened(stock), start_of(stock)
    with stock_steps(ours) as left:
        mine, said = outcome(ours, x, change)
    theirs, _ = outcome(stock, x, change)
    assert mine.error is theirs.error
    assert len(said) == bool(left), (said, left)
    if gap(mine.results, theirs.results) > TOLERANCE:
        in_single(monkeypatch, exact)
        truth, _ = outcome(exact, x.double(), change)
        if truth.error is theirs.error:
            assert gap(mine.results, truth.results) <= 1.2 * gap(theirs.results, truth.results)
        else:
            raise AssertionError(gap(mine.results, theirs.results))


class stock_steps:
    """Counts the stock steps that a fused scheduler has done."""

    def __init__(self, scheduler):
        self.scheduler, self.done = scheduler, []

    def __enter__(self):
        step = self.scheduler._stock_step

        def counted(*args, **kwargs):
            result = step(*args, **kwargs)
            self.done.append(args[0])
            return result

        self.scheduler._stock_step = counted
        return self.done

    def __exit__(self, *_):
        del self.scheduler._stock_step
