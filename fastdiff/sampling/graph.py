"""One step of the loop, model and row, captured once as a CUDA graph and replayed for every step.

The table, the row counters, the seeds and the guidance weights lie on the device, so what was
captured serves other tables of the same structure, other seeds, scales and numbers of steps.
"""

import threading
import warnings
import weakref
from collections import OrderedDict
from contextlib import contextmanager, suppress

import torch

WARM_UP = 2  # evaluations before a capture, in which the model allocates and tunes what it needs
KEPT = 8  # captures kept for another call


class StepGraph:
    """A captured step. It serves one run at a time: see ``acquire``.

    Args:
        model: called as model(x, t, **inputs).
        state: the SamplerState whose buffers the graph works in.
        inputs: keyword arguments of the model; the graph keeps copies of the tensors.
        capture: called with the function to capture, returns one that repeats its work on the
            device.

    Raises:
        RuntimeError: the model cannot be captured (it synchronises, or works on the host).
    """

    def __init__(self, model, state, inputs: dict, capture=None):
        self.state = state
        self._in_use = threading.Lock()
        self._finished = None  # an event on the device, behind the work of the run before
        self.inputs = {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        with state.undrawn():
            for last in (*[False] * (WARM_UP - 1), True):
                with forbid_waiting(state.buffers.x.device if last else None):
                    model(state.model_input, state.t, **self.inputs)
        self.replay = (capture or capture_cuda)(
            lambda: state.execute(model(state.model_input, state.t, **self.inputs))
        )
        self._addresses = state.buffers.addresses()

    def acquire(self) -> bool:
        """Keep other runs out until ``release``; False: it serves one already."""
        return self._in_use.acquire(blocking=False)

    def release(self) -> None:
        """Let another run have the graph, which will wait on the device for what is enqueued."""
        try:
            if self.state.buffers.x.is_cuda:
                self._finished = torch.cuda.current_stream(
                    self.state.buffers.x.device
                ).record_event()
        finally:
            self._in_use.release()

    def fits(self, state, inputs: dict) -> bool:
        """Whether the graph can do another run's work."""
        return self.state.structure() == state.structure() and _same_kind(self.inputs, inputs)

    def take(self, state, inputs: dict) -> None:
        """Do this run's work from now on."""
        if self._finished is not None:
            torch.cuda.current_stream(self.state.buffers.x.device).wait_event(self._finished)
        self.state.take(state)
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                self.inputs[name].copy_(value)

    def step(self) -> None:
        if self.state.buffers.addresses() != self._addresses:
            raise RuntimeError(
                "state: expected buffers that stay where they are while a captured graph works in "
                "them, got one whose memory was moved (share_memory_, resize_, set_, .data = ...); "
                "sample with graph=False to move them"
            )
        self.state.model_input  # noqa: B018  it follows what a callback wrote to the state
        self.state.prepare()
        self.replay()
        self.state.count()


@contextmanager
def forbid_waiting(device: torch.device | None):
    """Whatever makes the host wait for a CUDA device raises: a capture is refused before it begins,
    which leaves nothing behind. The mode is that of the process: other threads feel it, too."""
    if device is None or device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch says once that the mode is a prototype
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def capture_cuda(work):
    """Capture what ``work`` enqueues; returns the replay.

    By hand: ``torch.cuda.graph`` leaves its stream behind when a capture fails, and raises what
    followed from the failure instead of the failure.
    """
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # memory cannot be given back during a capture
    with torch.cuda.stream(torch.cuda.Stream()):
        try:
            begin_capture(graph, pool)
            work()
            graph.capture_end()
        except BaseException:
            abandon_capture(graph, pool)
            raise
    return graph.replay


def begin_capture(graph, pool=None):
    graph.capture_begin(pool=pool or torch.cuda.graph_pool_handle(),
                        capture_error_mode="thread_local")  # other threads may go on  # fmt: skip


def abandon_capture(graph, pool):
    """End a capture that failed, on its stream, and what torch takes for being underway still."""
    with suppress(RuntimeError):
        graph.capture_end()
    with suppress(RuntimeError, AttributeError):  # the allocator, where capture_end did not get far
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
    with suppress(RuntimeError):  # the generator: a capture that succeeds resets it
        blank = torch.cuda.CUDAGraph()
        begin_capture(blank)
        torch.empty(1, device="cuda").zero_()
        blank.capture_end()


def _same_kind(mine: dict, theirs: dict) -> bool:
    if mine.keys() != theirs.keys():
        return False
    for name, value in mine.items():
        other = theirs[name]
        if isinstance(value, torch.Tensor) != isinstance(other, torch.Tensor):
            return False
        if isinstance(value, torch.Tensor):
            if (value.shape, value.dtype, value.device) != (other.shape, other.dtype, other.device):
                return False
        elif value is not other and value != other:
            return False
    return True


class Graphs:
    """The captures of a process: found again for the same module and structure.

    A capture that is serving a run, of another thread or of a loop whose callback or model samples
    in its turn, is left alone: the new run gets a capture of its own.
    """

    def __init__(self, capture=None):
        self.capture = capture
        self.kept: OrderedDict[tuple, tuple[weakref.ref, StepGraph]] = OrderedDict()
        self.refused: weakref.WeakSet = weakref.WeakSet()
        self._lock = threading.RLock()  # torch makes one capture at a time; a model may sample

    def step_for(self, model, state, inputs: dict, required: bool) -> StepGraph | None:
        """A graph that does this run's work, captured now or before, acquired for it and to be
        released by it; None: run eagerly.

        Raises:
            RuntimeError: ``required``, and the model cannot be captured.
        """
        with self._lock:
            return self._step_for(model, state, inputs, required)

    def _step_for(self, model, state, inputs, required):
        key = _identity(model)
        if key is None and not required and state.remaining <= 2 * WARM_UP:
            return None  # nothing can be kept, and capturing would cost more than it saves
        if key is not None and (found := self._find(key, model, state, inputs)):
            return found
        if not required and key is not None and model in self.refused:
            return None
        try:
            graph = StepGraph(model, state, inputs, self.capture)
        except RuntimeError as error:
            return self._refuse(model, key, error, required)
        graph.acquire()
        if key is not None:
            self.kept[(*key, id(graph))] = (weakref.ref(model), graph)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return graph

    def _find(self, key, model, state, inputs):
        for name in [n for n, (alive, _) in self.kept.items() if alive() is None]:
            del self.kept[name]
        for name, (owner, graph) in self.kept.items():
            fits = name[:-1] == key and owner() is model and graph.fits(state, inputs)
            if fits and graph.acquire():
                self.kept.move_to_end(name)
                graph.take(state, inputs)
                return graph
        return None

    def _refuse(self, model, key, error, required):
        reason = str(error).strip().split("\n")[0]
        if required:
            raise RuntimeError(f"graph: the model cannot be captured: {reason}") from error
        if key is not None and not isinstance(error, torch.OutOfMemoryError):
            self.refused.add(model)  # for good; memory may be there another time
        warnings.warn(f"graph: running eagerly, the model cannot be captured: {reason}",
                      stacklevel=6)  # fmt: skip
        return None


def _identity(model) -> tuple | None:
    """What a capture of this model depends on; None if it cannot be known (a plain function)."""
    if not isinstance(model, torch.nn.Module):
        return None
    tensors = (*model.parameters(), *model.buffers())
    autocast = torch.is_autocast_enabled() and torch.get_autocast_dtype("cuda")
    return (id(model), model.training, hash(tuple(t.data_ptr() for t in tensors)), autocast)


graphs = Graphs()
