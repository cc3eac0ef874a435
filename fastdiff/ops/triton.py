"""The operations by Triton kernels, which are imported when first used.

They take arguments that ``fastdiff.ops`` has checked.
"""

from collections import namedtuple

from ..row import FIELDS, WIDTH

#: Where each field of a row lies: compiled into the kernels, which know no layout of their own.
COLUMN = namedtuple("Column", (*FIELDS, "width"))(*range(WIDTH), WIDTH)


def kernels():
    from ..kernels import triton

    return triton


def normal_(out, keys) -> None:
    kernels().normal_(out, keys)


def moments_(out, a, b) -> None:
    kernels().moments_(out, a, b)


def training(name):
    """The operation of training called ``name``, or its gradient."""

    def operation(*arguments):
        return getattr(kernels().training, name)(*arguments)

    return operation


def bind_step(**buffers):
    """All of ``step_``'s arguments but outputs and gain -> a function of these two."""
    return kernels().Step(COLUMN, **buffers)


def step_(
    x, row, rows, outputs, weights, keys, saved, history, z, z_prev, model_input, t,
    second_weights=None, gain=None, known=None, mask=None, threshold=None,
):  # fmt: skip
    run = bind_step(
        x=x, row=row, rows=rows, weights=weights, keys=keys, saved=saved, history=history, z=z,
        z_prev=z_prev, model_input=model_input, t=t, second_weights=second_weights, known=known,
        mask=mask, threshold=threshold,
    )  # fmt: skip
    run(outputs, gain)
