"""Schedulers in several threads."""

import copy
import threading

import pytest
from loops import loop, start
from twins import NAMES, assert_equal, pair, plain, set_steps

import fastdiff.integrations.diffusers as fused

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


@pytest.mark.parametrize("name", [n for n in NAMES if fused.SCHEDULERS[n]._told])
def test_one_scheduler_in_two_threads(name):
    """As with the stock ones: those that are told where they are can be shared."""
    if fused.SCHEDULERS[name]._counter is not None:
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


def test_nothing_is_kept_of_threads_that_have_ended():
    _, scheduler = pair("DDIMScheduler", plain("DDIMScheduler"), STEPS)
    between = meeting(threading.Barrier(5))
    in_threads(*[lambda: loop(scheduler, start(scheduler), between=between)] * 5)
    assert len(scheduler._trajectories) == 5
    loop(scheduler, start(scheduler))
    assert len(scheduler._trajectories) == 1
