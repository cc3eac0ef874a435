"""A sample does not see its batch: not its neighbours, nor its place, nor when it started."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG
from fastdiff.row import COLUMN
from tests.support.helpers import same_bits, thread_count
from tests.support.toy import SOLVERS, TABLES, finish, model, start, table_of

KINDS = st.tuples(st.sampled_from(list(SOLVERS)), st.integers(1, 7)).map(lambda k: table_of(*k))
SCALES = st.sampled_from([0.0, 0.5, 1.0, 3.0, -1.5])
SEEDS = st.integers(-(2**63), 2**64 - 1)


@st.composite
def requests(draw, size=st.integers(1, 5)):  # noqa: B008
    """What users ask for: (table, seed, guidance scale, shift of the condition)."""
    one = st.tuples(KINDS, SEEDS, SCALES, st.floats(-1, 1))
    return draw(size.flatmap(lambda n: st.lists(one, min_size=n, max_size=n)))


def conditions(shifts):
    shift = torch.tensor(shifts, dtype=torch.float32)
    return {"cond": {"shift": shift}, "uncond": {"shift": -shift}}


def batched(asked, x, guided):
    tables, seeds, scales, shifts = map(list, zip(*asked, strict=True))
    options = {"guidance": CFG(scales), **conditions(shifts)} if guided else {}
    return fd.sample(model, x, tables, seeds=seeds, **options)


@settings(max_examples=60)
@given(
    asked=requests(), guided=st.booleans(), numel=st.sampled_from([1, 3, 35, 300]), data=st.data()
)
def test_mixed_batch(asked, guided, numel, data):
    """Different solvers, numbers of steps, seeds and guidance scales side by side: each as alone,
    in any order."""
    x = start(len(asked), (numel,))
    together = batched(asked, x, guided)
    for b, one in enumerate(asked):
        assert same_bits(together[b : b + 1], batched([one], x[b : b + 1], guided)), b
    order = data.draw(st.permutations(range(len(asked))))
    shuffled = batched([asked[b] for b in order], x[list(order)], guided)
    assert same_bits(shuffled, together[list(order)])


@settings(max_examples=40)
@given(asked=requests(st.integers(2, 6)), data=st.data())
def test_staggered_starts(asked, data):
    """Continuous batching: finished or not, a sample's place is given to the next request."""
    lanes = data.draw(st.integers(1, 3))
    tables = [asked[b % len(asked)][0] for b in range(lanes)]
    asked = [(tables[b % lanes], *one[1:]) for b, one in enumerate(asked)]
    x = start(len(asked), (9,))
    state = fd.SamplerState(tables, x[[b % len(asked) for b in range(lanes)]],
                            seeds=[asked[b % len(asked)][1] for b in range(lanes)])  # fmt: skip
    running = {lane: lane % len(asked) for lane in range(lanes)}
    waiting = list(range(lanes, len(asked)))
    results = {}
    for _ in range(200):
        ended = (state.row_index == state.program.end).tolist()
        for lane in range(lanes):
            if ended[lane] and running[lane] is not None:
                results[running[lane]] = state.x[lane].clone()
                running[lane] = None
            ready = [b for b in waiting if b % lanes == lane]
            if running[lane] is None and ready and (state.done or data.draw(st.booleans())):
                waiting.remove(ready[0])
                running[lane] = ready[0]
                state.restart(lane, x[ready[0]], seed=asked[ready[0]][1])
        if state.done and not waiting:
            break
        if not state.done:
            state.step(model(state.model_input, state.t))
    for b, result in results.items():
        table, seed = asked[b][:2]
        assert same_bits(result[None], fd.sample(model, x[b : b + 1], table, seeds=[seed])), b
    assert len(results) == max(len(asked), min(lanes, len(asked)))


def test_restart_in_the_middle():
    """An unfinished trajectory may be replaced; its history and anchor leave no trace."""
    for name in SOLVERS:
        x = start(2)
        state = fd.SamplerState(TABLES[name], x, seeds=[1, 2])
        for _ in range(3):
            state.step(model(state.model_input, state.t))
        state.restart(0, 3 * x[1], seed=9)
        sample = finish(state)
        assert same_bits(sample[1:], fd.sample(model, x[1:], TABLES[name], seeds=[2])), name
        assert same_bits(sample[:1], fd.sample(model, 3 * x[1:], TABLES[name], seeds=[9])), name


def test_restart_of_a_table_that_begins_with_noise():
    """Churn before the first evaluation: the entry row draws, for the new sample alone."""
    solver = fd.solvers.EDMHeun(s_churn=4.0, s_tmin=0.0, s_tmax=float("inf"))
    table, x = solver.lower(fd.schedules.EDM(), 5, prediction="x0"), 80 * start(2)
    assert table.rows[0, COLUMN["c_z"]] != 0
    state = fd.SamplerState(table, x, seeds=[1, 2])
    for k in range(table.nfe + 2):
        state.step(model(state.model_input, state.t))
        if k == 1:
            state.restart(1, x[1], seed=2)
    assert same_bits(state.x[:1], fd.sample(model, x[:1], table, seeds=[1]))
    assert same_bits(state.x[1:], fd.sample(model, x[1:], table, seeds=[2]))


@pytest.mark.parametrize("guided", [False, True])
def test_how_far_each_sample_is(guided):
    """Counted over the sample's own table, whatever the others run; finished ones stay in the batch
    as they are, and the model is evaluated at them, too."""
    tables = [table_of("DDIM", 3), table_of("EDMHeun", 2), table_of("DDPM", 5)]
    total = [table.nfe for table in tables]
    x, seen, evaluated = start(3), [], []

    def watched(y, t, **cond):
        evaluated.append(len(y))
        return model(y, t, **cond)

    def callback(state):
        seen.append((state.step_index.tolist(), state.steps.tolist(), state.finished.tolist()))
        state.step_index[:] = state.steps[:] = 7  # a copy: writing to it moves nothing

    options = {"guidance": CFG(3.0), **conditions([0.1, 0.2, 0.3])} if guided else {}
    samples = fd.sample(watched, x, tables, seeds=[1, 2, 3], callback=callback, **options)
    assert seen == [
        ([min(k, n) for n in total], total, [k >= n for n in total])
        for k in range(1, max(total) + 1)
    ]
    assert evaluated == [6 if guided else 3] * max(total)
    for b, table in enumerate(tables):
        options = {"guidance": CFG(3.0), **conditions([0.1 * (b + 1)])} if guided else {}
        alone = fd.sample(model, x[b : b + 1], table, seeds=[b + 1], **options)
        assert same_bits(samples[b : b + 1], alone)


def test_how_far_a_new_sample_is():
    state = fd.SamplerState([table_of("DDIM", 2), table_of("DDPM", 4)], start(2))
    assert state.step_index.tolist() == [0, 0] and not state.finished.any()
    for _ in range(3):
        state.step(model(state.model_input, state.t))
    assert (state.step_index.tolist(), state.finished.tolist()) == ([2, 3], [True, False])
    state.restart(0, start()[0])
    assert (state.step_index.tolist(), state.finished.tolist()) == ([0, 3], [False, False])
    assert state.steps.tolist() == [2, 4]
    assert {state.step_index.dtype, state.steps.dtype} == {np.dtype(np.int64)}
    none = fd.SamplerState(TABLES["DDIM"], start(2)[:0])
    assert [len(v) for v in (none.step_index, none.steps, none.finished)] == [0, 0, 0]


@pytest.mark.parametrize("sample", [-1, 2, 7])
def test_restart_of_no_sample(sample):
    state = fd.SamplerState(TABLES["DDIM"], start(2))
    with pytest.raises(IndexError, match=rf"^sample: expected 0..1, got {sample}"):
        state.restart(sample, start(1)[0])
    with pytest.raises(ValueError, match=r"^x: expected \[7, 5\], got \[7\]"):
        state.restart(0, start(1)[0, :, 0])


@pytest.mark.parametrize("name", SOLVERS)
def test_seeds(name):
    x = start(3)
    counted = fd.sample(model, x, TABLES[name], seeds=40)
    assert same_bits(counted, fd.sample(model, x, TABLES[name], seeds=[40, 41, 42]))
    keys = fd.noise.keys(40, 3)
    assert same_bits(counted, fd.sample(model, x, TABLES[name], seeds=keys))
    assert same_bits(counted, fd.sample(model, x, TABLES[name], seeds=keys[:, 0].contiguous()))
    other = fd.sample(model, x, TABLES[name], seeds=41)
    assert same_bits(counted, other) == (not TABLES[name].stochastic)


def test_the_keys_given_are_not_kept():
    keys = fd.noise.keys(1, 2)
    state = fd.SamplerState(TABLES["DDIM"], start(2), seeds=keys)
    state.restart(1, start(1)[0], seed=99)
    assert keys.tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize("name", SOLVERS)
def test_threads_of_the_processor(name):
    x = start(5, (3, 80, 81))
    samples = []
    for count in (1, 2):
        with thread_count(count):
            samples.append(fd.sample(model, x, TABLES[name], seeds=3))
    assert same_bits(*samples)


def test_two_states_in_two_threads():
    """Large enough that the native step lets other threads run."""
    names = [*SOLVERS, *SOLVERS]
    x = start(2, (3, 128, 128))
    alone = [fd.sample(model, x, TABLES[name], seeds=k) for k, name in enumerate(names)]
    together = [None] * len(names)

    def work(which):
        for k in which:
            together[k] = fd.sample(model, x, TABLES[names[k]], seeds=k)

    halves = np.array_split(np.arange(len(names)), 2)
    workers = [threading.Thread(target=work, args=(half.tolist(),)) for half in halves]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(same_bits(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (0,), (3,), (2, 3, 0, 5), (1, 1, 1, 1, 1, 1, 1)])
def test_empty_and_odd_shapes(name, shape):
    x = torch.ones(shape)
    for options in ({}, {"guidance": CFG(2.0), "cond": {}}, {"noise": "torch"}):
        sample = fd.sample(model, x, TABLES[name], **options)
        assert sample.shape == shape and sample.isfinite().all()
