"""Typical and extreme calls of step_."""

import torch

from fastdiff import noise
from fastdiff.row import COLUMN
from tests.support.step_cases import Case, lay_out, random_rows


def call(
    batch, shape, layout="contiguous", state=torch.float32, model=torch.bfloat16, seed=0, n_rows=3
):
    """A call that reads and writes everything, with two outputs."""
    g = torch.Generator().manual_seed(seed)

    def randn(*size, dtype=state):
        return torch.randn(size, generator=g, dtype=torch.float64).to(dtype)

    rows = random_rows(n_rows - 1, 0.0, g, clip=(-1.0, 1.0), slots=2, dtype=state)
    rows[:-1, [COLUMN["g_0"], COLUMN["g_1"], COLUMN["k_known"]]] = 0.5
    rows[0, COLUMN["dynamic"]] = 0.8
    arguments = {name: randn(batch, *shape) for name in ("x", "saved", "z", "z_prev", "known")}
    return Case(arguments | {
        "row": torch.arange(batch) % 2,
        "rows": rows,
        "outputs": [lay_out(randn(2 * batch, *shape, dtype=model), layout)],
        "weights": randn(n_rows, batch, 2),
        "second_weights": randn(n_rows, batch, 2),
        "keys": noise.keys(seed, batch),
        "history": randn(2, batch, *shape),
        "model_input": randn(2 * batch, *shape, dtype=model),
        "t": torch.zeros(2 * batch, dtype=torch.float64 if model == torch.float64 else None),
        "gain": lay_out(randn(batch, *shape, dtype=model), layout),
        "mask": randn(batch, *shape).sigmoid(),
        "threshold": randn(batch),
        "x0_out": randn(batch, *shape),
        "x_in": lay_out(randn(batch, *shape, dtype=model), layout),
        "x_out": randn(batch, *shape, dtype=model),
    })  # fmt: skip


def drawn(case):
    """The same, with noise drawn in the kernel."""
    return case.copy(z=None, z_prev=None)


def guided(batch, shape, **options):
    """What most loops make: guidance of two outputs, two history slots, noise from the stream."""
    unused = ("saved", "second_weights", "gain", "known", "mask", "threshold", "x_in", "x_out")
    unused += ("x0_out",)
    return drawn(call(batch, shape, **options)).copy(**dict.fromkeys(unused))


def plain(batch, shape):
    """A small policy: one output, one tile, float32 throughout."""
    case = guided(batch, shape, model=torch.float32)
    case = case.copy(weights=None, history=None, outputs=[case.outputs[0][:batch]])
    return case.copy(model_input=case.model_input[:batch].clone(), t=case.t[:batch].clone())
