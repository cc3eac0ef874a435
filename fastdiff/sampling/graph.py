"""One step of the loop, model and row, captured once as a CUDA graph and replayed for every step.

The table, the row counters, the seeds and the guidance weights lie on the device, so what was
captured serves other tables of the same structure, other seeds, scales and numbers of steps.
"""

import warnings
import weakref
from collections import OrderedDict

import torch

WARM_UP = 2  # evaluations before a capture, in which the model allocates and tunes what it needs
KEPT = 8  # captures kept for another call


class StepGraph:
    """A captured step.

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
        self.inputs = {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        for _ in range(WARM_UP):
            model(state.model_input, state.t, **self.inputs)
        self.replay = (capture or capture_cuda)(
            lambda: state.execute(model(state.model_input, state.t, **self.inputs))
        )

    def fits(self, state, inputs: dict) -> bool:
        """Whether the graph can do another run's work."""
        return self.state.structure() == state.structure() and _same_kind(self.inputs, inputs)

    def take(self, state, inputs: dict) -> None:
        """Do this run's work from now on."""
        self.state.take(state)
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor):
                self.inputs[name].copy_(value)

    def step(self) -> None:
        self.state.prepare()
        self.replay()
        self.state.count()


def capture_cuda(work):
    """Capture what ``work`` enqueues; returns the replay."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


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
    """The captures of a process: found again for the same module and structure."""

    def __init__(self, capture=None):
        self.capture = capture
        self.kept: OrderedDict[tuple, tuple[weakref.ref, StepGraph]] = OrderedDict()
        self.refused: weakref.WeakSet = weakref.WeakSet()

    def step_for(self, model, state, inputs: dict, required: bool) -> StepGraph | None:
        """A graph that does this run's work, captured now or before; None: run eagerly.

        Raises:
            RuntimeError: ``required``, and the model cannot be captured.
        """
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
        if key is not None:
            self.kept[(*key, id(graph))] = (weakref.ref(model), graph)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return graph

    def _find(self, key, model, state, inputs):
        for name in [n for n, (alive, _) in self.kept.items() if alive() is None]:
            del self.kept[name]
        for name, (owner, graph) in self.kept.items():
            if name[:-1] == key and owner() is model and graph.fits(state, inputs):
                self.kept.move_to_end(name)
                graph.take(state, inputs)
                return graph
        return None

    def _refuse(self, model, key, error, required):
        reason = str(error).strip().split("\n")[0]
        if required:
            raise RuntimeError(f"graph: the model cannot be captured: {reason}") from error
        if key is not None:
            self.refused.add(model)
        warnings.warn(f"graph: running eagerly, the model cannot be captured: {reason}",
                      stacklevel=4)  # fmt: skip
        return None


def _identity(model) -> tuple | None:
    """What a capture of this model depends on; None if it cannot be known (a plain function)."""
    if not isinstance(model, torch.nn.Module):
        return None
    tensors = (*model.parameters(), *model.buffers())
    return (id(model), model.training, hash(tuple(t.data_ptr() for t in tensors)),
            torch.is_autocast_enabled())  # fmt: skip


graphs = Graphs()
