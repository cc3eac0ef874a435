"""Tensors that a state hands out, and what people do to them between steps: it is followed, or
refused before anything is written."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.guidance import CFG
from tests.support.helpers import native_only, same_bits, thread_count
from tests.support.toy import (
    SOLVERS,
    finish,
    home,
    model,
    on_backends,
    start,
    table_of,
    use_reference,
)

BACKENDS = [pytest.param("native", marks=native_only), "reference"]
BUFFERS = ("x", "row", "rows", "keys", "model_input", "t", "history", "saved", "weights")


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request, monkeypatch):
    if request.param == "reference":
        use_reference(monkeypatch)


def state_of(name="DPMpp2M", after=2, guidance=None, **options):
    state = fd.SamplerState(table_of(name), start(), guidance=guidance, **options)
    for _ in range(after):
        step(state)
    return state


def step(state):
    parts = state.model_input.chunk(state.outputs)
    state.step(torch.cat([model(part, t) for part, t in zip(parts, state.t.chunk(state.outputs),
                                                            strict=True)]))  # fmt: skip


def expected_after(change, name="DPMpp2M", **options):
    """The samples of a state whose x is replaced by change(x) after two steps."""
    state = state_of(name, **options)
    state.replace(change(state.x.clone()))
    while not state.done:
        step(state)
    return state.x


def assign_elements(x):
    x[:] = x * 0.9


def through_data(x):
    x.data.mul_(0.9)


def through_numpy(x):
    array = x.numpy()
    array *= np.float32(0.9)


def through_a_view(x):
    x.flatten()[:].mul_(0.9)


WRITES = {
    "mul_": lambda x: x.mul_(0.9),
    "assignment of elements": assign_elements,
    "data": through_data,
    "numpy": through_numpy,
    "a view": through_a_view,
    "copy_": lambda x: x.copy_(0.9 * x),
    "new data": lambda x: setattr(x, "data", 0.9 * x),
    "set_": lambda x: x.set_(0.9 * x),
}


@pytest.mark.covered(times=4)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", ["DPMpp2M", "EDMHeun", "FlowEuler", "DDPM"])
def test_writes_between_steps_are_a_replacement(name, write):
    state = state_of(name)
    WRITES[write](state.x)
    while not state.done:
        step(state)
    assert same_bits(state.x, expected_after(lambda x: 0.9 * x, name))


@on_backends
def test_a_model_input_that_follows_has_the_bits_that_the_row_wrote(name):
    schedule, prediction = home(name)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        tables = [SOLVERS[name].lower(schedule, n, prediction=prediction) for n in (2, 4, 3)]
        state = fd.SamplerState(tables, start(), model_dtype=dtype)
        while not state.done:
            before = state.buffers.model_input.clone()
            assert state.x is state.buffers.x  # handed out, so that the input is made anew
            assert same_bits(state.model_input, before)
            step(state)


def test_writes_through_a_tensor_that_was_kept():
    state = state_of()
    x = state.x
    step(state)
    x.mul_(0.9)
    written = state.model_input.clone()
    other = state_of(after=3)
    other.replace(0.9 * other.x)
    assert same_bits(written, other.model_input)


def test_a_write_behind_the_models_back_is_refused():
    """Whether the model was evaluated before the write or after it cannot be known."""
    state = state_of()
    model_input, t, x = state.model_input, state.t, state.x
    state.step(model(model_input, t))
    x.mul_(0.9)
    before = state.x.clone()
    with pytest.raises(RuntimeError, match="^x: expected model_input to be read .* replace"):
        state.step(model(model_input, t))
    assert same_bits(state.x, before)
    state.replace(x)
    state.step(model(model_input, t))


def test_a_write_between_evaluation_and_step_counts_for_the_step():
    """As in a loop by hand: the output is that of the point before the write."""
    states = [state_of(), state_of()]
    for state in states:
        out = model(state.model_input, state.t)
        state.x.mul_(0.9) if state is states[0] else state.replace(0.9 * state.x)
        state.step(out)
    assert same_bits(states[0].x, states[1].x)


def test_callbacks_may_write_to_the_state():
    seen = []

    def callback(state):
        seen.append(state.x.clone())
        state.x[:, 0] = 0.5

    x = fd.sample(model, start(), table_of("EDMHeun"), callback=callback)
    by_replacing = []

    def replacing(state):
        by_replacing.append(state.x.clone())
        edited = state.x.clone()
        edited[:, 0] = 0.5
        state.x = edited

    assert same_bits(fd.sample(model, start(), table_of("EDMHeun"), callback=replacing), x)
    assert all(same_bits(a, b) for a, b in zip(seen, by_replacing, strict=True))


def buffer(state, name):
    return getattr(state.buffers, name)


def moves(name):
    """States that have this buffer."""
    return state_of(guidance=CFG(2.0)) if name == "weights" else state_of(
        "DPMpp2S" if name == "saved" else "DPMpp2M"
    )  # fmt: skip


@pytest.mark.parametrize("name", BUFFERS)
@pytest.mark.parametrize(
    "move",
    [
        lambda v: v.share_memory_(),
        lambda v: setattr(v, "data", v.clone()),
        lambda v: v.set_(v.clone()),
        lambda v: v.untyped_storage().resize_(2 * v.untyped_storage().nbytes()),
    ],
    ids=["share_memory_", "data", "set_", "resize_ of the storage"],
)
def test_memory_that_moves_is_followed(name, move):
    state, untouched = moves(name), moves(name)
    move(buffer(state, name))
    while not state.done:
        step(state)
        step(untouched)
    assert same_bits(state.x, untouched.x)


@native_only
@pytest.mark.parametrize("name", BUFFERS)
def test_memory_that_is_taken_away_is_refused(name):
    """And a smaller piece at the same address, which the allocator likes to give."""
    for size in (0, 1):
        state = moves(name)
        out = torch.cat([model(state.model_input, state.t)])
        copies = {n: v.clone() for n, v in vars(state.buffers).items()
                  if v is not None and n != name}  # fmt: skip
        buffer(state, name).untyped_storage().resize_(0)
        buffer(state, name).untyped_storage().resize_(size)
        with pytest.raises(RuntimeError, match=rf"^{name}: expected .* changed in place"):
            state._execute(out)
        for other, value in copies.items():
            assert same_bits(buffer(state, other), value), other


@pytest.mark.parametrize("name", ["x", "model_input", "t"])
@pytest.mark.parametrize(
    "change",
    [lambda v: v.resize_(2), lambda v: v.unsqueeze_(0), lambda v: v.set_(torch.zeros(3, 7, 6))],
    ids=["resize_", "unsqueeze_", "set_"],
)
def test_another_shape_is_refused(name, change):
    state = state_of()
    out = model(state.model_input, state.t)
    change(buffer(state, name))
    row = state.row.clone()
    with pytest.raises(RuntimeError, match=rf"^{name}: expected the tensor that was bound"):
        state.step(out)
    assert same_bits(state.row, row)


def test_a_model_input_cannot_follow_another_shape():
    state = state_of()
    state.x.resize_(2)
    with pytest.raises(RuntimeError, match="^x: expected the tensor that was bound"):
        state.model_input  # noqa: B018


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy,
                                    lambda s: pickle.loads(pickle.dumps(s))])  # fmt: skip
def test_copies_have_buffers_of_their_own(copied):
    state, expected = state_of("DDPM"), finish(state_of("DDPM"))
    twin = copied(state)
    assert same_bits(finish(twin), expected)
    assert not same_bits(state.x, expected)
    assert same_bits(finish(state), expected)


def _advance(queue, back):
    state = queue.get()
    back.put(finish(state).numpy().tobytes())


def test_a_state_sent_to_a_process_is_a_copy():
    """torch sends tensors by sharing their memory."""
    context = torch.multiprocessing.get_context("fork")
    queue, back = context.SimpleQueue(), context.SimpleQueue()
    state, expected = state_of("DDPM"), finish(state_of("DDPM"))
    process = context.Process(target=_advance, args=(queue, back))
    process.start()
    queue.put(state)
    assert back.get() == expected.numpy().tobytes()
    process.join()
    assert not same_bits(state.x, expected)
    assert same_bits(finish(state), expected)


def test_a_state_made_in_inference_mode_works_outside_of_it():
    with torch.inference_mode():
        state = fd.SamplerState(table_of("DDPM"), start())
        step(state)
        state.x = state.x + 1
    other = state_of("DDPM", after=1)
    other.x = other.x + 1
    for s in (state, other):
        step(s)
        s.restart(1, start()[1], seed=5)
        s.x.mul_(0.5)
    assert same_bits(finish(state), finish(other))


def in_threads(count, work):
    """What each thread returned or raised; all begin at once."""
    barrier, results = threading.Barrier(count), [None] * count

    def run(k):
        barrier.wait()
        try:
            results[k] = work(k)
        except Exception as error:  # noqa: BLE001
            results[k] = error

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@native_only
@pytest.mark.parametrize("noise", ["philox", "torch"])
def test_one_thread_at_a_time(noise, backend):
    """Above the size from which a step lets other threads run."""
    if ops.backend_of("cpu") == "reference":
        pytest.skip("the reference holds no state between its calls")
    x = start(4, (3, 256, 256))
    table = table_of("DDPM", steps=40)
    state = fd.SamplerState(table, x, noise=noise)
    out = torch.zeros_like(x)
    done = []

    def work(_):
        steps = 0
        while True:
            try:
                state.step(out)
            except RuntimeError as error:
                if "every sample" in str(error) or "done" in str(error):
                    return steps
                assert "one thread at a time" in str(error), error
                done.append("refused")
            else:
                steps += 1

    steps = in_threads(8, work)
    assert all(isinstance(n, int) for n in steps), steps
    assert sum(steps) == table.nfe
    assert (state.row.numpy() == state.program.end).all()
    if noise == "philox":
        alone = fd.SamplerState(table, x)
        while not alone.done:
            alone.step(out)
        assert same_bits(state.x, alone.x)
    assert done


@native_only
@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_states_in_threads_of_their_own(backend):
    x, table = start(2, (3, 112, 112)), table_of("DDPM", 3)

    def work(k):
        return finish(fd.SamplerState(table, x, seeds=7)).clone()

    with thread_count(1):
        alone = work(0)
    for threads in (2, 32):  # the latter on any machine more than there are cores
        with thread_count(threads):
            assert all(same_bits(alone, other) for other in in_threads(8, work))
