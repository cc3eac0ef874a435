"""One row for every sample of a batch: guidance, solver update, noise, next model input."""

import inspect

import torch
from torch.compiler import is_dynamo_compiling

from . import reference, triton
from .arguments import refuse_gradient, require_writable
from .library import define
from .operands import NAMES, WRITTEN, check, check_call, describe_all, schema
from .select import operation


def _by_name(step):
    """The operator's arguments, which come in the order of ``NAMES``, by their names."""
    return lambda *values: step(**dict(zip(NAMES, values, strict=False)))


define(schema("step_"), _by_name(reference.step_), lambda *values: None, _by_name(triton.step_))

_REQUIRED = ("x", "row", "rows")  # by position


def step_(x, row, rows, outputs=(), **operands: torch.Tensor | None) -> None:
    unknown = operands.keys() - set(NAMES)
    if unknown or "keys" not in operands:
        wrong = f"{sorted(unknown)}" if unknown else "no keys"
        raise TypeError(f"step_: expected the operands {', '.join(NAMES)}, got {wrong}")
    if not isinstance(outputs, (list, tuple)):
        raise TypeError(f"outputs: expected a list of tensors, got {type(outputs).__name__}")
    outputs = list(outputs)
    named = dict.fromkeys(NAMES) | {"x": x, "row": row, "rows": rows, **operands}
    parts = {f"outputs[{g}]": out for g, out in enumerate(outputs)}
    refuse_gradient(**{k: v for k, v in named.items() if isinstance(v, torch.Tensor)}, **parts)
    check(named)
    weights = named["weights"]
    check_call(x, 1 if weights is None else weights.shape[2], outputs, named)
    if not is_dynamo_compiling():  # it knows neither kind of tensor
        require_writable(**{name: named[name] for name in WRITTEN})
    operation("step_", x.device)(*(named | {"outputs": outputs}).values())


step_.__doc__ = f"""Execute the row that each sample stands on, in place.

    Args:
        {describe_all()}
        outputs: the model's outputs, G tensors [B, ...] or one stacked tensor [G * B, ...] in a
            list; any strides; model dtype. Empty for rows that read none.

    The state's dtype is float32 or float64; the model's is float32, bfloat16 or float16, or float64
    beside a float64 state. Operands that no row reads or writes may be None.

    Raises:
        TypeError, ValueError: an argument is not as described.
        RuntimeError: an argument requires grad while grad mode is on.
    """
step_.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # for help() and editors
    [
        *(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in _REQUIRED),
        inspect.Parameter("outputs", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=()),
        inspect.Parameter("keys", inspect.Parameter.KEYWORD_ONLY),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
            for name in NAMES
            if name not in (*_REQUIRED, "outputs", "keys")
        ),
    ]
)
