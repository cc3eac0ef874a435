"""The step with its buffers bound: what a loop calls with the model's output, on any backend."""

import torch

from ..arguments import describe
from . import triton
from .arguments import is_within_storage, require_alike, require_tensors
from .library import native
from .select import backend_of, operation
from .step import ARGUMENTS, check, check_outputs

BOUND = [name for name in ARGUMENTS if name not in ("outputs", "gain")]


def bind(x, row, rows, *, keys, stream=None, **buffers):
    """The function (out, gain=None) that executes a row, on the backend in use now.

    Args:
        x, row, rows, keys, ...: as ``fastdiff.ops.step_`` takes them; they keep their addresses.
        stream: (threads, shared) to draw as torch.randn does on a CUDA device: threads of its
            launch, and whether one generator serves the whole batch. "cuda" only.

    Returns:
        A function of the model's output: a tensor [G * B, ...], a sequence of G tensors [B, ...],
        or None for a row that reads none; and of the gain [B, ...] where a row scales its noise.
    """
    bound = dict.fromkeys(BOUND) | {"x": x, "row": row, "rows": rows, "keys": keys, **buffers}
    require_tensors(x=x)
    which = backend_of(x.device)
    if which in ("cpu", "cuda"):
        require_alike(bound, bound.values())
        number = torch.ops.fastdiff_native.bind(*bound.values(), *(stream or (0, False)))
        return native.Executor(number).step
    arguments = dict.fromkeys(ARGUMENTS) | bound | {"outputs": []}
    check(**arguments)
    held = Held(bound)
    if which == "triton":
        run = triton.bind_step(**bound)
    else:
        op = operation("step_", x.device)

        def run(outputs, gain):
            op(*(arguments | {"outputs": outputs, "gain": gain}).values())

    count = 1 if arguments["weights"] is None else arguments["weights"].shape[2]

    def execute(out, gain=None):
        held.check()
        outputs = [] if out is None else [out] if isinstance(out, torch.Tensor) else list(out)
        if outputs:
            check_outputs(x, outputs, count)
        if gain is not None:
            check_outputs(x, [gain], 1, "gain", outputs[0].dtype if outputs else None)
        run(outputs, gain)

    return execute


class Held:
    """The bound tensors of a backend in Python, which reads their addresses at every step: they may
    move, but have to be what they were. (``native.Executor`` sees to that itself.)"""

    def __init__(self, bound: dict):
        self._held = [
            (name, tensor, tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
            for name, tensor in bound.items()
            if isinstance(tensor, torch.Tensor)
        ]

    def check(self) -> None:
        """Raise RuntimeError, before anything is written, for one that was changed in place."""
        for name, tensor, *was in self._held:
            now = [tensor.shape, tensor.stride(), tensor.dtype, tensor.device]
            if now != was or not is_within_storage(tensor):
                raise RuntimeError(
                    f"{name}: expected the tensor that was bound, {was[2]} {list(was[0])} on "
                    f"{was[3]}, got one that was changed in place: {describe(tensor)} on "
                    f"{tensor.device} in {tensor.untyped_storage().nbytes()} bytes"
                )
