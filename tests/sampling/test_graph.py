"""Captured steps: a graph made for one run does the work of another, bit for bit.

On a CUDA device the capture is real (tests/gpu). Here "capturing" keeps the function, and replaying
calls it: what is tested is that nothing of a run is left outside the buffers that a graph works in.
"""

import importlib
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG
from fastdiff.sampling import buffers
from fastdiff.sampling import graph as graph_
from fastdiff.sampling.graph import Graphs, StepGraph
from tests.support.helpers import same_bits
from tests.support.toy import TABLES, start, table_of


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, x, t, shift=0.0):
        t = t.reshape(-1, *[1] * (x.dim() - 1))
        shift = shift.reshape(t.shape) if isinstance(shift, torch.Tensor) else shift
        return torch.tanh(self.scale * x + shift) + 1e-3 * t


def capture(work):
    return work


def state_of(solver, steps, seeds, scale, noise="philox"):
    guidance = None if scale is None else CFG(scale)
    return fd.SamplerState(
        table_of(solver, steps), start(), seeds=seeds, guidance=guidance, noise=noise
    )


def finish(state, net, shift):
    while not state.done:
        state.step(net(state.model_input, state.t, shift=shift))
    return state.x


runs = st.tuples(st.integers(0, 99), st.sampled_from([0.0, 1.0, 2.5]))


@torch.no_grad()
@given(first=runs, second=runs, solver=st.sampled_from(sorted(TABLES)))
def test_another_run_in_the_same_graph(first, second, solver):
    """New seeds, another scale, other conditions: the bits of an eager run."""
    net, shifts = Net(), [torch.full((6,), 0.1), torch.arange(6) / 7]
    graph = None
    for (seed, scale), shift in zip((first, second), shifts, strict=True):
        expected = finish(state_of(solver, 5, seed, scale), net, shift)
        state = state_of(solver, 5, seed, scale)
        if graph is None:
            graph = StepGraph(net, state, {"shift": shift}, capture)
        else:
            assert graph.fits(state, {"shift": shift})
            graph.take(state, {"shift": shift})
        while not graph.state.done:
            graph.step()
        assert same_bits(graph.state.x, expected)


@torch.no_grad()
def test_what_does_not_fit():
    net = Net()
    graph = StepGraph(net, state_of("DDIM", 5, 0, None), {"shift": 0.5}, capture)
    assert graph.fits(state_of("DDIM", 5, 3, None), {"shift": 0.5})
    assert not graph.fits(state_of("DDIM", 5, 0, None), {"shift": 0.25})
    assert not graph.fits(state_of("DDIM", 5, 0, None), {})
    assert not graph.fits(state_of("DDIM", 5, 0, 2.0), {"shift": 0.5})
    assert not graph.fits(state_of("UniPC", 5, 0, None), {"shift": 0.5})
    with pytest.raises(ValueError, match="structure"):
        graph.take(state_of("UniPC", 5, 0, None), {})


def found(graphs, net, state, inputs=()):
    """The graph that a run gets, given back at once."""
    graph = graphs.step_for(net, state, dict(inputs), False)
    graph.release()
    return graph


def run(graphs, net, state, before_step=lambda: None):
    """What ``sample`` does with a captured step."""
    graph = graphs.step_for(net, state, {}, False)
    try:
        while not graph.state.done:
            before_step()
            graph.step()
        return graph.state.x.clone()
    finally:
        graph.release()


@torch.no_grad()
def test_a_run_within_a_run():
    """A callback that samples with the same model gets a capture of its own; it is kept, too."""
    captured, net = [], Net()
    graphs = Graphs(lambda work: captured.append(work) or work)
    outer, inner = (finish(state_of("DDPM", 5, seed, None), net, 0.0) for seed in (1, 9))
    seen = []

    def nested():
        seen.append(run(graphs, net, state_of("DDPM", 5, 9, None)))

    assert same_bits(run(graphs, net, state_of("DDPM", 5, 1, None), nested), outer)
    assert len(seen) == 5 and all(same_bits(x, inner) for x in seen)
    assert len(captured) == 2


@torch.no_grad()
def test_runs_in_several_threads():
    graphs, net, count = Graphs(capture), Net(), 4
    expected = [finish(state_of("DDPM", 5, seed, None), net, 0.0) for seed in range(count)]
    turn, wrong = threading.Barrier(count), []

    @torch.no_grad()
    def work(seed):
        for _ in range(3):
            x = run(graphs, net, state_of("DDPM", 5, seed, None), turn.wait)  # all in lockstep
            if not same_bits(x, expected[seed]):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong and len(graphs.kept) == count


@torch.no_grad()
def test_a_run_that_fails_gives_its_graph_back():
    graphs, net = Graphs(capture), Net()

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(graphs, net, state_of("DDIM", 5, 0, None), stop)
    found(graphs, net, state_of("DDIM", 5, 0, None))
    assert len(graphs.kept) == 1


@torch.no_grad()
def test_sample_gives_its_graph_back(monkeypatch):
    """Whether its loop ends or raises; a callback of its own samples elsewhere."""
    sampling = importlib.import_module("fastdiff.sampling.sample")
    graphs, net, table = Graphs(capture), Net(), table_of("DDPM", 5)
    expected = fd.sample(net, start(), table, seeds=3)

    def captured(model, state, inputs, graph):
        return graphs.step_for(model, state, inputs, False)

    def nested(state):
        assert same_bits(fd.sample(net, start(), table, seeds=3, graph=True), expected)

    def fail(state):
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "_capture", captured)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fd.sample(net, start(), table, callback=fail, graph=True)
        sample = fd.sample(net, start(), table, seeds=3, callback=nested, graph=True)
        assert same_bits(sample, expected)
    assert len(graphs.kept) == 2


@torch.no_grad()
def test_captures_are_found_again():
    """One capture for one module and structure; a changed module or a copy gets its own."""
    captured = []

    def counting(work):
        captured.append(work)
        return work

    graphs, net = Graphs(counting), Net()
    first = found(graphs, net, state_of("DDIM", 5, 0, None))
    assert found(graphs, net, state_of("DDIM", 5, 1, None)) is first
    assert found(graphs, net, state_of("UniPC", 5, 1, None)) is not first
    assert found(graphs, Net(), state_of("DDIM", 5, 1, None)) is not first
    net.scale = torch.nn.Parameter(torch.tensor(0.7))  # other memory than was captured
    assert found(graphs, net, state_of("DDIM", 5, 1, None)) is not first
    assert len(captured) == 4


@torch.no_grad()
def test_a_model_that_cannot_be_captured():
    """Eager with a warning that says why, once; an error if a graph was asked for."""

    def failing(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphs, net = Graphs(failing), Net()
    with pytest.warns(UserWarning, match="running eagerly.*not permitted"):
        assert graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False) is None
    assert graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False) is None  # no second try
    with pytest.raises(RuntimeError, match="^graph: the model cannot be captured: operation not"):
        graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, True)


@torch.no_grad()
def test_a_capture_without_memory_is_tried_again():
    def failing(work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    graphs, net = Graphs(failing), Net()
    with pytest.warns(UserWarning, match="out of memory"):
        assert graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False) is None
    graphs.capture = capture
    assert graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False) is not None


@torch.no_grad()
def test_a_capture_is_made_for_one_autocast_dtype(monkeypatch):
    graphs, net, kept = Graphs(capture), Net(), []
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda: True)
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        monkeypatch.setattr(torch, "get_autocast_dtype", lambda _, dtype=dtype: dtype)
        kept.append(found(graphs, net, state_of("DDIM", 5, 0, None)))
    assert kept[0] is kept[2] and kept[0] is not kept[1]


@torch.no_grad()
def test_a_model_that_waits_is_refused_before_the_capture(monkeypatch):
    """In its last warm-up, so that it has tuned before what it tunes once."""
    calls = []

    @contextmanager
    def forbid(device):
        calls.append(device)
        if device is not None:
            raise RuntimeError("called a synchronizing CUDA operation")
        yield

    monkeypatch.setattr(graph_, "forbid_waiting", forbid)
    graphs, net = Graphs(lambda work: pytest.fail("captured")), Net()
    with pytest.warns(UserWarning, match="synchronizing"):
        assert graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False) is None
    assert calls == [None, torch.device("cpu")]


@torch.no_grad()
def test_noise_from_elsewhere_in_a_graph():
    """Draws that torch makes are filled in before each replay."""
    net, table = Net(), table_of("DDPM", 5)
    generators = [[torch.Generator().manual_seed(b) for b in range(3)] for _ in range(2)]
    expected = finish(fd.SamplerState(table, start(), noise=generators[0]), net, 0.0)
    graph = StepGraph(net, fd.SamplerState(table, start(), noise=generators[1]), {}, capture)
    while not graph.state.done:
        graph.step()
    assert same_bits(graph.state.x, expected)


@torch.no_grad()
@pytest.mark.parametrize("noise", ["philox", "brownian", "torch", "callable"])
def test_another_number_of_steps_in_the_same_graph(monkeypatch, noise):
    """A table of another length, and noise that comes from elsewhere for another table."""
    monkeypatch.setattr(buffers, "capacity", lambda count, device, weights: 64)
    net, graph = Net(), None
    sources = {"callable": lambda n, shape: torch.full(shape, 0.1 * n)}
    for steps in (9, 5, 12):
        torch.manual_seed(5)
        expected = finish(state_of("DDPM", steps, 3, None, sources.get(noise, noise)), net, 0.0)
        state = state_of("DDPM", steps, 3, None, sources.get(noise, noise))
        torch.manual_seed(5)
        if graph is None:
            graph = StepGraph(net, state, {}, capture)
        else:
            graph.take(state, {})
        while not graph.state.done:
            graph.step()
        assert same_bits(graph.state.x, expected), steps


@torch.no_grad()
def test_another_kind_of_noise_in_the_same_graph():
    """All that is drawn before a row goes through the same buffers."""
    net, graph = Net(), None
    given = torch.randn(5, *start().shape, generator=torch.Generator().manual_seed(1))
    for noise in ("brownian", given, "brownian"):
        expected = finish(state_of("DDPM", 5, 3, None, noise), net, 0.0)
        state = state_of("DDPM", 5, 3, None, noise)
        if graph is None:
            graph = StepGraph(net, state, {}, capture)
        else:
            assert graph.fits(state, {})
            graph.take(state, {})
        while not graph.state.done:
            graph.step()
        assert same_bits(graph.state.x, expected)


def test_room_for_tables_to_come():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert buffers.capacity(9, cpu, None) == 9
    assert [buffers.capacity(n, cuda, None) for n in (6, 1001, 1024, 1025)] == [1024] * 3 + [2048]
    alike, of_each = np.ones((1, 4096, 2)), np.ones((9, 4096, 2))
    assert buffers.capacity(9, cuda, alike) == 1024
    assert buffers.capacity(9, cuda, of_each) == 64, "a table of weights as large as the batch"


def test_graphs_are_for_cuda():
    with pytest.raises(ValueError, match="^graph: expected a state on cuda"):
        fd.sample(Net(), start(), TABLES["DDIM"], graph=True)
