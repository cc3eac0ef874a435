"""Captured steps: a graph made for one run does the work of another, bit for bit.

On a CUDA device the capture is real (tests/gpu). Here "capturing" keeps the function, and replaying
calls it: what is tested is that nothing of a run is left outside the buffers that a graph works in.
"""

from contextlib import contextmanager

import pytest
import torch
from helpers import same_bits
from hypothesis import given
from hypothesis import strategies as st
from toy import TABLES, start, table_of

import fastdiff as fd
from fastdiff.guidance import CFG
from fastdiff.sampling import graph as graph_
from fastdiff.sampling.graph import Graphs, StepGraph, capture_cuda, forbid_waiting


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


@torch.no_grad()
def test_captures_are_found_again():
    """One capture for one module and structure; a changed module or a copy gets its own."""
    captured = []

    def counting(work):
        captured.append(work)
        return work

    graphs, net = Graphs(counting), Net()
    first = graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False)
    assert graphs.step_for(net, state_of("DDIM", 5, 1, None), {}, False) is first
    assert graphs.step_for(net, state_of("UniPC", 5, 1, None), {}, False) is not first
    assert graphs.step_for(Net(), state_of("DDIM", 5, 1, None), {}, False) is not first
    net.scale = torch.nn.Parameter(torch.tensor(0.7))  # other memory than was captured
    assert graphs.step_for(net, state_of("DDIM", 5, 1, None), {}, False) is not first
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
        kept.append(graphs.step_for(net, state_of("DDIM", 5, 0, None), {}, False))
    assert kept[0] is kept[2] and kept[0] is not kept[1]


class FakeCuda:
    """torch.cuda as a capture uses it: the current stream, and captures of which some fail to
    end, as after a synchronisation within them."""

    def __init__(self, monkeypatch, ends):
        self.log, self.ends, self.stream_in_use, self.mode = [], iter(ends), "user's", 0
        fake = self

        class CUDAGraph:
            def capture_begin(self, pool, capture_error_mode):
                fake.log.append(f"begin on {fake.stream_in_use}")

            def capture_end(self):
                fake.log.append("end")
                if not next(fake.ends, True):
                    raise RuntimeError("operation failed due to a previous error during capture")

            def replay(self):
                fake.log.append("replay")

        @contextmanager
        def stream(other):
            before, self.stream_in_use = self.stream_in_use, other
            try:
                yield
            finally:
                self.stream_in_use = before

        replaced = {
            "CUDAGraph": CUDAGraph, "graph_pool_handle": lambda: (0, 1), "stream": stream,
            "Stream": lambda: "side", "synchronize": lambda: None, "empty_cache": lambda: None,
            "current_device": lambda: 0, "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": lambda mode: setattr(self, "mode", mode),
        }  # fmt: skip
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        empty = torch.empty
        monkeypatch.setattr(graph_.torch, "empty", lambda *size, device: empty(*size))


def test_a_capture(monkeypatch):
    fake = FakeCuda(monkeypatch, [])
    capture_cuda(lambda: fake.log.append(f"work on {fake.stream_in_use}"))()
    assert fake.log == ["begin on side", "work on side", "end", "replay"]
    assert fake.stream_in_use == "user's"


@pytest.mark.parametrize("ends", [[False], [True]])
def test_a_failing_capture_leaves_nothing_behind(monkeypatch, ends):
    """The model's own error comes out, whether or not its capture can be ended; the stream is the
    one of before, and a capture that succeeds resets torch's generator."""
    fake = FakeCuda(monkeypatch, ends)

    def fail():
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="^operation not permitted"):
        capture_cuda(fail)
    assert fake.stream_in_use == "user's"
    assert fake.log == ["begin on side", "end", "begin on side", "end"]


def test_a_capture_that_does_not_end(monkeypatch):
    """The model caught the error that its capture died of."""
    fake = FakeCuda(monkeypatch, [False, False])
    with pytest.raises(RuntimeError, match="^operation failed"):
        capture_cuda(lambda: None)
    assert fake.stream_in_use == "user's"
    assert fake.log == ["begin on side", *["end"] * 2, "begin on side", "end"]


def test_waiting_is_forbidden_on_cuda_alone(monkeypatch):
    fake = FakeCuda(monkeypatch, [])
    for device, mode in ((None, 0), ("cpu", 0), ("cuda:0", "error")):
        with pytest.raises(ZeroDivisionError), forbid_waiting(device and torch.device(device)):
            assert fake.mode == mode
            raise ZeroDivisionError
        assert fake.mode == 0


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


def test_graphs_are_for_cuda():
    with pytest.raises(ValueError, match="^graph: expected a state on cuda"):
        fd.sample(Net(), start(), TABLES["DDIM"], graph=True)
