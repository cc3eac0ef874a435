"""One row for every sample of a batch: guidance, solver update, noise, next model input."""

import torch
from torch.compiler import is_dynamo_compiling

from ..row import WIDTH
from . import reference, triton
from .arguments import refuse_gradient, require_alike, require_writable
from .library import define
from .select import operation

define(
    "step_(Tensor(a!) x, Tensor(b!) row, Tensor rows, Tensor[] outputs, Tensor? weights, "
    "Tensor keys, Tensor(c!)? saved, Tensor(d!)? history, Tensor? z, Tensor? z_prev, "
    "Tensor(e!)? model_input, Tensor(f!)? t, Tensor? second_weights=None, Tensor? gain=None, "
    "Tensor? known=None, Tensor? mask=None, Tensor(g!)? threshold=None) -> ()",
    reference.step_,
    lambda *args: None,
    triton.step_,
)

ARGUMENTS = (
    "x", "row", "rows", "outputs", "weights", "keys", "saved", "history", "z", "z_prev",
    "model_input", "t", "second_weights", "gain", "known", "mask", "threshold",
)  # fmt: skip
WRITTEN = ("x", "row", "saved", "history", "model_input", "t", "threshold")

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def step_(
    x: torch.Tensor,
    row: torch.Tensor,
    rows: torch.Tensor,
    outputs=(),
    *,
    keys: torch.Tensor,
    weights: torch.Tensor | None = None,
    saved: torch.Tensor | None = None,
    history: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    z_prev: torch.Tensor | None = None,
    model_input: torch.Tensor | None = None,
    t: torch.Tensor | None = None,
    second_weights: torch.Tensor | None = None,
    gain: torch.Tensor | None = None,
    known: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    threshold: torch.Tensor | None = None,
) -> None:
    """Execute the row that each sample stands on, in place.

    Args:
        x: [B, ...] state, float32 or float64, contiguous; updated.
        row: [B] int64, index of each sample's row; advanced by one unless the row is not live.
        rows: [R, 40] packed rows of x's dtype (``StepTable.pack``).
        outputs: the model's outputs, G tensors [B, ...] or one stacked tensor [G * B, ...] in a
            list; any strides; float32, bfloat16 or float16 (float64 beside a float64 state). Empty
            for rows that read none.
        keys: [B, 2] int64, (seed, first block) of each sample's Philox stream.
        weights: [R, B, G] of x's dtype (strides may be 0), the weight of each output; None: G = 1.
        saved: like x, the anchor s; updated.
        history: [slots, *x.shape], the ring h; updated.
        z, z_prev: like x, noise to use instead of drawing it.
        model_input: [G * B, ...] receives in_scale x' in its dtype, G times.
        t: [G * B] float32 (float64 if model_input is), receives the next timestep.
        second_weights: like weights, with its strides: those of the second mix u.
        gain: [B, ...] of the outputs' dtype, any strides: the log-gain of each element's noise.
        known, mask: like x, what is known of the sample, and where (0 to 1).
        threshold: [B] of x's dtype, needed where a row is ``dynamic``; receives the bounds.

    Raises:
        ValueError: an argument is not as described.
        RuntimeError: an argument requires grad while grad mode is on.
    """
    if not isinstance(outputs, (list, tuple)):
        raise TypeError(f"outputs: expected a list of tensors, got {type(outputs).__name__}")
    outputs = list(outputs)
    parts = {f"outputs[{g}]": o for g, o in enumerate(outputs)}
    arguments = (
        x, row, rows, outputs, weights, keys, saved, history, z, z_prev, model_input, t,
        second_weights, gain, known, mask, threshold,
    )  # fmt: skip
    named = dict(zip(ARGUMENTS, arguments, strict=True))
    refuse_gradient(**{k: v for k, v in named.items() if isinstance(v, torch.Tensor)}, **parts)
    check(**named)
    if not is_dynamo_compiling():  # which knows neither kind of tensor
        require_writable(**{name: named[name] for name in WRITTEN})
    operation("step_", x.device)(*arguments)


def _require(name, tensor, dtype, shape, device):
    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.dtype != dtype
        or tensor.shape != tuple(shape)
        or tensor.device != device
    ):
        got = (
            f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
            if isinstance(tensor, torch.Tensor)
            else type(tensor).__name__
        )
        raise ValueError(f"{name}: expected {dtype} {list(shape)} on {device}, got {got}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name}: expected a contiguous tensor, got strides {tensor.stride()}")


def check(
    x, row, rows, outputs, weights, keys, saved, history, z, z_prev, model_input, t,
    second_weights, gain, known, mask, threshold,
) -> None:  # fmt: skip
    """Shapes, dtypes and devices of ``step_``'s arguments, for every backend alike."""
    require_alike(
        ARGUMENTS,
        (x, row, rows, outputs, weights, keys, saved, history, z, z_prev, model_input, t,
         second_weights, gain, known, mask, threshold),
    )  # fmt: skip
    if not isinstance(x, torch.Tensor) or x.dtype not in (torch.float32, torch.float64):
        got = x.dtype if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"x: expected a float32 or float64 tensor, got {got}")
    if x.dim() < 1:
        raise ValueError("x: expected [batch, ...], got a tensor without dimensions")
    _require("x", x, x.dtype, x.shape, x.device)
    batch, rest = x.shape[0], x.shape[1:]
    _require("row", row, torch.int64, [batch], x.device)
    _require("rows", rows, x.dtype, [_length(rows), WIDTH], x.device)
    _require("keys", keys, torch.int64, [batch, 2], x.device)
    count = 1
    if weights is not None:
        shape = weights.shape if isinstance(weights, torch.Tensor) else ()
        if len(shape) != 3 or not 1 <= shape[2] <= 4:
            got = list(shape) or type(weights).__name__
            raise ValueError(f"weights: expected [rows, batch, 1..4] of {x.dtype}, got {got}")
        count = weights.shape[2]
        _require("weights", weights[:0], x.dtype, [0, batch, count], x.device)
        if len(weights) != len(rows) or (count > 1 and weights.stride(2) != 1):
            raise ValueError(
                f"weights: expected {[len(rows), batch, count]} with last stride 1, "
                f"got {list(weights.shape)} with strides {weights.stride()}"
            )
    if second_weights is not None:
        _require_like_weights(second_weights, weights)
    whole = {"saved": saved, "z": z, "z_prev": z_prev, "known": known, "mask": mask}
    for name, tensor in whole.items():
        if tensor is not None:
            _require(name, tensor, x.dtype, x.shape, x.device)
    if threshold is not None:
        _require("threshold", threshold, x.dtype, [batch], x.device)
    if history is not None:
        _require("history", history, x.dtype, [_length(history), *x.shape], x.device)
    if model_input is not None:
        check_float("model_input", model_input, x)
        _require("model_input", model_input, model_input.dtype, [count * batch, *rest], x.device)
        if t is not None:
            wide = model_input.dtype == torch.float64
            _require("t", t, torch.float64 if wide else torch.float32, [count * batch], x.device)
    if outputs:
        check_outputs(x, outputs, count)
        if gain is not None:
            check_outputs(x, [gain], 1, "gain", outputs[0].dtype)


def _require_like_weights(second, weights) -> None:
    like = isinstance(second, torch.Tensor) and isinstance(weights, torch.Tensor)
    if (
        not like
        or (second.shape, second.dtype, second.device)
        != (weights.shape, weights.dtype, weights.device)
        or second.stride() != weights.stride()
    ):
        got = (
            f"{second.dtype} {list(second.shape)} with strides {second.stride()} on {second.device}"
            if isinstance(second, torch.Tensor)
            else type(second).__name__
        )
        raise ValueError(
            f"second_weights: expected a tensor like weights (device, strides and all), got {got}"
        )


def _length(tensor) -> int:
    """The leading dimension; 0 for what has none and is refused next."""
    return tensor.shape[0] if isinstance(tensor, torch.Tensor) and tensor.dim() else 0


def check_float(name: str, tensor: torch.Tensor, x: torch.Tensor) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    require_alike((name,), (tensor,))
    allowed = FLOATS if x.dtype == torch.float64 else FLOATS[:3]
    if tensor.dtype not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {tensor.dtype}")


def check_outputs(x: torch.Tensor, outputs, count: int, name: str = "out", dtype=None) -> None:
    """G tensors of x's shape, or one with G * B samples, on x's device."""
    if len(outputs) not in (1, count):
        raise ValueError(f"{name}: expected {count} tensors or one stacked, got {len(outputs)}")
    leading = (count if len(outputs) == 1 else 1) * x.shape[0]
    for out in outputs:
        check_float(name, out, x)
        if out.shape != (leading, *x.shape[1:]) or out.device != x.device:
            raise ValueError(
                f"{name}: expected {[leading, *x.shape[1:]]} on {x.device}, "
                f"got {list(out.shape)} on {out.device}"
            )
        dtype = dtype or outputs[0].dtype
        if out.dtype != dtype:
            raise ValueError(f"{name}: expected one dtype, got {dtype} and {out.dtype}")
