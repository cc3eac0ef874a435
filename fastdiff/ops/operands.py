"""The operands of a step as the table of ``fastdiff.row`` has them: the operator's schema, and the
one check for the backends in Python. (csrc/torch/pack.cpp is its twin for the native ones; the same
wrong argument gets the same words from both.)"""

from typing import NoReturn

import torch

from ..row import CALL_OPERANDS, OPERANDS, Operand
from .arguments import require_alike

BOUND = tuple(operand.name for operand in OPERANDS)
CALL = ("outputs", *(operand.name for operand in CALL_OPERANDS))
NAMES = (*BOUND, *CALL)
WRITTEN = tuple(operand.name for operand in (*OPERANDS, *CALL_OPERANDS) if operand.written)

#: What a model may read and write; float64 only beside a float64 state.
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MOST_OUTPUTS = 4


def schema(name: str) -> str:
    """Of the operator that takes all operands."""
    letters = iter("abcdefghijklmnopqrstuvwxyz")

    def declared(operand, default=""):
        alias = f"({next(letters)}!)" if operand.written else ""
        optional = "" if operand.required else "?"
        return f"Tensor{alias}{optional} {operand.name}{default}"

    bound = [declared(operand) for operand in OPERANDS]
    call = [declared(operand, "=None") for operand in CALL_OPERANDS]
    return f"{name}({', '.join((*bound, 'Tensor[] outputs', *call))}) -> ()"


def describe_all() -> str:
    """The operands for a docstring, one to a line."""
    lines = []
    for operand in (*OPERANDS, *CALL_OPERANDS):
        sizes = ", ".join("1..4" if size == "G" else str(size) for size in operand.shape)
        kind = operand.dtype if operand.dtype == "int64" else f"{operand.dtype} dtype"
        strides = {"contiguous": "", "any": ", any strides", "rows": ", last stride 1"}
        layout = strides.get(operand.layout, ", with the strides of weights")
        lines.append(f"{operand.name}: [{sizes}] {kind}{layout}; {operand.about}.")
    return "\n        ".join(lines)


def check(operands: dict) -> None:
    """Raise ValueError, naming the argument, for bound operands that are not as the table says.

    Args:
        operands: by name; those that are not there may be missing or None.
    """
    require_alike(BOUND, [operands.get(name) for name in BOUND])
    x = operands.get("x")
    if not isinstance(x, torch.Tensor) or x.dtype not in (torch.float32, torch.float64):
        _refuse("x", "dtype float32, float64", x)
    if x.dim() < 1:
        _refuse("x", "[batch, ...]", x)
    for operand in OPERANDS:
        tensor = operands.get(operand.name)
        if tensor is None and not operand.required:
            continue
        _require(operand, tensor, operands)


def check_call(x, count: int, outputs, call: dict) -> None:
    """Raise ValueError for what changes from call to call.

    Args:
        x: the bound state.
        count: G, how many outputs are mixed.
        outputs: a list of them.
        call: the other operands by name; those that are not there may be missing or None.
    """
    given = {operand.name: call.get(operand.name) for operand in CALL_OPERANDS}
    require_alike(("x", *(["out"] * len(outputs)), *given), (x, *outputs, *given.values()))
    if len(outputs) not in (0, 1, count):
        text = f"{count} tensors or one stacked tensor"
        raise ValueError(f"out: expected {text}, got {len(outputs)}")
    dtypes = _model_dtypes(x)
    samples = len(x) * (count if len(outputs) == 1 else 1)
    first = dtypes
    for out in outputs:
        _require_like("out", out, first, [samples, *x.shape[1:]], x)
        first = (out.dtype,)
    for operand in CALL_OPERANDS:
        tensor = given[operand.name]
        if tensor is not None:
            allowed = first if operand.dtype == "outputs" else dtypes
            _require_like(operand.name, tensor, allowed, [len(x), *x.shape[1:]], x)
            _require_layout(operand, tensor)


def _model_dtypes(x):
    return FLOATS if x.dtype == torch.float64 else FLOATS[:3]


def _outputs(operands) -> int:
    weights = operands.get("weights")
    return 1 if weights is None else weights.shape[2]


def _sizes(operand: Operand, operands: dict) -> list:
    """What is expected of each dimension: a number, or the name of what may be any."""
    x = operands["x"]
    sizes: list = []
    for size in operand.shape:
        if size == "...":
            sizes += x.shape[1:]
        elif size == "B":
            sizes.append(len(x))
        elif size == "GB":
            sizes.append(_outputs(operands) * len(x))
        elif size == "G":
            sizes.append("1..4" if operand.name == "weights" else _outputs(operands))
        elif size == "R":
            sizes.append("rows" if operand.name == "rows" else len(operands["rows"]))
        else:
            sizes.append(size)
    return sizes


def _dtypes(operand: Operand, operands: dict) -> tuple:
    x, model_input = operands["x"], operands.get("model_input")
    if operand.dtype == "state":
        return (x.dtype,)
    if operand.dtype == "int64":
        return (torch.int64,)
    if operand.dtype == "time":
        wide = model_input is not None and model_input.dtype == torch.float64
        return (torch.float64 if wide else torch.float32,)
    return _model_dtypes(x)


def _require(operand: Operand, tensor, operands: dict) -> None:
    _require_like(
        operand.name, tensor, _dtypes(operand, operands), _sizes(operand, operands), operands["x"]
    )
    _require_layout(operand, tensor, operands.get("weights"))


def _require_layout(operand: Operand, tensor, weights=None) -> None:
    name = operand.name
    if operand.layout == "rows":
        if tensor.shape[2] > 1 and tensor.stride(2) != 1:
            _refuse_layout(name, "with last stride 1", tensor)
    elif operand.layout == "like weights":
        if weights is None:
            _refuse_layout(name, "beside weights", tensor)
        pairs = zip(tensor.shape, tensor.stride(), weights.stride(), strict=True)
        if any(n > 1 and mine != theirs for n, mine, theirs in pairs):
            _refuse_layout(name, f"with strides {list(weights.stride())}", tensor)
    elif operand.layout == "contiguous" and not tensor.is_contiguous():
        _refuse_layout(name, "contiguous", tensor)


def _require_like(name, tensor, dtypes, sizes, x) -> None:
    fits = (
        isinstance(tensor, torch.Tensor)
        and tensor.dtype in dtypes
        and tensor.device == x.device
        and tensor.dim() == len(sizes)
        and all(map(_fits, sizes, tensor.shape))
    )
    if not fits:
        shape = ", ".join(map(str, sizes))
        _refuse(name, f"{_listed(dtypes)} [{shape}] on {x.device}", tensor)


def _fits(expected, size) -> bool:
    if expected == "1..4":
        return 1 <= size <= MOST_OUTPUTS
    return isinstance(expected, str) or expected == size


def _listed(dtypes) -> str:
    names = [str(dtype).removeprefix("torch.") for dtype in dtypes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _refuse(name, expected, got) -> NoReturn:
    raise ValueError(f"{name}: expected {expected}, got {text_of(got)}")


def _refuse_layout(name, expected, tensor) -> NoReturn:
    raise ValueError(f"{name}: expected a tensor {expected}, got strides {list(tensor.stride())}")


def text_of(value) -> str:
    """A tensor by dtype, shape and device; anything else by its class."""
    if not isinstance(value, torch.Tensor):
        return "None" if value is None else type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)} on {value.device}"
