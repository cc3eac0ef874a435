"""The step with its buffers bound: what a loop calls with the model's output, on any backend."""

from typing import Any

import torch

from ..arguments import describe
from . import triton
from .arguments import is_within_storage, require_alike, require_tensors
from .library import native
from .operands import BOUND, NAMES, check, check_call
from .select import backend_of, operation


def bind(x, row, rows, *, keys, stream=None, **buffers):
    """The function (out, gain=None, x_in=None, x_out=None) that executes a row, on the backend in
    use now.

    Args:
        x, row, rows, keys, ...: as ``fastdiff.ops.step_`` takes them; they keep their addresses.
        stream: (threads, shared) to draw as torch.randn does on a CUDA device: threads of its
            launch, and whether one generator serves the whole batch. "cuda" only.

    Returns:
        A function of the model's output: a tensor [G * B, ...], a sequence of G tensors [B, ...],
        or None for a row that reads none; and of the other operands that change from call to call,
        see ``step_``.
    """
    bound = dict.fromkeys(BOUND) | {"x": x, "row": row, "rows": rows, "keys": keys, **buffers}
    if bound.keys() > set(BOUND):
        raise TypeError(
            f"bind: expected {', '.join(BOUND)}, got {sorted(bound.keys() - set(BOUND))}"
        )
    require_tensors(x=x)
    which = backend_of(x.device)
    if which in ("cpu", "cuda"):
        require_alike(bound, bound.values())
        for value in bound.values():
            if value is not None and not isinstance(value, torch.Tensor):
                check(bound)  # which raises
        number = torch.ops.fastdiff_native.bind(*bound.values(), *(stream or (0, False)))
        return native.Executor(number).step
    check(bound)
    held = Held(bound)
    if which == "triton":
        run = triton.bind_step(**bound)
    else:
        op = operation("step_", x.device)

        def run(outputs, gain, x_in, x_out):
            call = {"outputs": outputs, "gain": gain, "x_in": x_in, "x_out": x_out}
            op(*(dict.fromkeys(NAMES) | bound | call).values())

    count = 1 if bound["weights"] is None else bound["weights"].shape[2]

    def execute(out, gain=None, x_in=None, x_out=None):
        held.check()
        outputs = [] if out is None else [out] if isinstance(out, torch.Tensor) else list(out)
        check_call(x, count, outputs, {"gain": gain, "x_in": x_in, "x_out": x_out})
        run(outputs, gain, x_in, x_out)

    return execute


class Held:
    """The bound tensors of a backend in Python, which reads their addresses at every step: they may
    move, but have to be what they were. (``native.Executor`` sees to that itself.)"""

    def __init__(self, bound: dict):
        self._held: list[tuple[Any, ...]] = [
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
