"""Schedulers in several threads."""

import copy
import functools
import threading

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop, start
from tests.support.twins import NAMES, assert_equal, assert_like_stock, pair, plain, set_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6

every = pytest.mark.parametrize("name", NAMES)


def in_threads(*functions):
    """Run functions at the same time; their results."""
    barrier, results, errors = threading.Barrier(len(functions)), [None] * len(functions), []

    def run(k):
        try:
            barrier.wait()
            results[k] = functions[k]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def meeting(barrier):
    """A callback that lets threads take turns."""

    def wait(i, sample):
        barrier.wait(timeout=20)
        return sample

    return wait


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
@every
def test_copies_in_two_threads(name, clone):
    _, scheduler = pair(name, plain(name), STEPS)
    starts = [start(scheduler, seed=seed) for seed in (0, 1)]
    wanted = [loop(copy.deepcopy(scheduler), x)[0] for x in starts]
    twins = [clone(scheduler) for _ in starts]
    between = meeting(threading.Barrier(2))
    results = in_threads(
        *(lambda k=k: loop(twins[k], starts[k], between=between)[0] for k in (0, 1))
    )
    for mine, alone in zip(results, wanted, strict=True):
        assert_equal(mine, alone)


@pytest.mark.parametrize("name", [n for n in NAMES if fused.SCHEDULERS[n].spec.index == "timestep"])
def test_one_scheduler_in_two_threads(name):
    """As with the stock ones: those that are told where they are can be shared."""
    if fused.SCHEDULERS[name].spec.counter is not None:
        pytest.skip("the stock scheduler counts its steps, too")
    _, scheduler = pair(name, plain(name), STEPS)
    starts = [start(scheduler, seed=seed) for seed in (0, 1)]
    wanted = [loop(copy.deepcopy(scheduler), x)[0] for x in starts]
    between = meeting(threading.Barrier(2))
    results = in_threads(*(lambda x=x: loop(scheduler, x, between=between)[0] for x in starts))
    for mine, alone in zip(results, wanted, strict=True):
        assert_equal(mine, alone)


@every
def test_one_request_after_another_in_threads(name):
    """As servers do."""
    _, scheduler = pair(name, plain(name), STEPS)
    x = start(scheduler)
    wanted, _ = loop(copy.deepcopy(scheduler), x)

    def request():
        set_steps(scheduler, STEPS)
        return loop(scheduler, x)[0]

    for _ in range(3):
        assert_equal(in_threads(request)[0], wanted)


def moved(scheduler, x, cut):
    """The loop up to step ``cut``, and the rest in another thread."""
    first = loop(scheduler, x, scheduler.timesteps[:cut])[0]
    middle, rest = first[-1]["prev_sample"], scheduler.timesteps[cut:]
    return first + in_threads(lambda: loop(scheduler, middle, rest)[0])[0]


@every
def test_a_trajectory_moves_to_another_thread(monkeypatch, name):
    """It belongs to the scheduler, whoever takes its steps."""
    stock, ours = pair(name, plain(name), STEPS)
    cut = min(2 * (getattr(stock, "order", None) or 1), len(stock.timesteps) - 1)
    assert_like_stock(monkeypatch, stock, ours, lambda s, x: moved(s, x, cut))


@pytest.mark.parametrize("name", ["UniPCMultistepScheduler", "SASolverScheduler"])
def test_a_copy_made_midway_goes_on_in_another_thread(name):
    _, scheduler = pair(name, plain(name), STEPS)
    first, rest = scheduler.timesteps[:3], scheduler.timesteps[3:]
    middle = loop(scheduler, start(scheduler), first)[0][-1]["prev_sample"]
    twin = copy.deepcopy(scheduler)
    wanted = loop(scheduler, middle, rest)[0]
    assert_equal(in_threads(lambda: loop(twin, middle, rest)[0])[0], wanted)


def test_copies_are_made_while_another_thread_begins():
    _, scheduler = pair("DDIMScheduler", plain("DDIMScheduler"), STEPS)

    class Slow:  # to be copied: a step is taken meanwhile
        def __deepcopy__(self, memo):
            loop(scheduler, start(scheduler))
            return self

    scheduler.first = Slow()
    assert copy.deepcopy(scheduler).first is scheduler.first


@every
def test_every_step_in_a_thread_of_its_own(name):
    """As an executor of asyncio may do."""
    _, scheduler = pair(name, plain(name), STEPS)
    if hasattr(fused.SCHEDULERS[name], "_increment"):
        pytest.skip("torchsde's paths cannot be copied")
    wanted = loop(copy.deepcopy(scheduler), start(scheduler))[0]
    step = scheduler.step

    @functools.wraps(step)
    def elsewhere(*args, **options):
        return in_threads(lambda: step(*args, **options))[0]

    scheduler.step = elsewhere
    assert_equal(loop(scheduler, start(scheduler))[0], wanted)


@pytest.mark.parametrize("seeds", [(3, 4), (3, 3)])
def test_philox_in_two_threads(seeds):
    """Each with the keys of its own generator."""
    _, scheduler = pair("DDPMScheduler", plain("DDPMScheduler"), STEPS)
    scheduler.noise = "philox"
    x = start(scheduler)

    def make(seed, between=None):
        generator = torch.Generator().manual_seed(seed)
        return loop(scheduler, x, generator=lambda: generator, between=between)[0]

    wanted = [make(seed) for seed in seeds]
    between = meeting(threading.Barrier(2))
    results = in_threads(*(lambda seed=seed: make(seed, between) for seed in seeds))
    for mine, alone in zip(results, wanted, strict=True):
        assert_equal(mine, alone)
