"""The operations by Triton kernels, which are imported when first used.

They take arguments that ``fastdiff.ops`` has checked.
"""

from collections import namedtuple
from typing import Any

from ..row import FIELDS, WIDTH

#: Where each field of a row lies: compiled into the kernels, which know no layout of their own.
_column: Any = namedtuple  # of names that are known when this runs
COLUMN = _column("Column", (*FIELDS, "width"))(*range(WIDTH), WIDTH)


def kernels():
    from ..kernels import triton  # type: ignore[attr-defined]  # lies beside the package

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


def bind_step(**bound):
    """``step_``'s bound operands -> a function of what changes from call to call."""
    return kernels().Step(COLUMN, **bound)


def step_(*, outputs, gain=None, x_in=None, x_out=None, **bound) -> None:
    bind_step(**bound)(outputs, gain, x_in, x_out)
