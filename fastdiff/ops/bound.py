"""The step with its buffers bound: what a loop calls with the model's output, on any backend."""

import torch

from . import triton
from .library import native
from .select import backend_of, operation
from .step import ARGUMENTS, check, check_outputs


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
    bound = {"x": x, "row": row, "rows": rows, "keys": keys, **buffers}
    which = backend_of(x.device)
    if which == "cpu":
        return native.Executor(**bound).step
    if which == "cuda":
        tickets = torch.zeros(len(x), dtype=torch.int32, device=x.device)
        threads, shared = stream or (0, False)
        executor = native.Executor(
            **bound, tickets=tickets, torch_threads=threads, torch_shared=shared
        )
        return executor.step
    arguments = dict.fromkeys(ARGUMENTS) | bound | {"outputs": []}
    check(**arguments)
    if which == "triton":
        run = triton.bind_step(**bound)
    else:
        op = operation("step_", x.device)

        def run(outputs, gain):
            op(*(arguments | {"outputs": outputs, "gain": gain}).values())

    count = 1 if arguments["weights"] is None else arguments["weights"].shape[2]

    def execute(out, gain=None):
        outputs = [] if out is None else [out] if isinstance(out, torch.Tensor) else list(out)
        if outputs:
            check_outputs(x, outputs, count)
        if gain is not None:
            check_outputs(x, [gain], 1, "gain", outputs[0].dtype if outputs else None)
        run(outputs, gain)

    return execute
