"""What a step takes besides the state: the model's outputs as they may come, and known data."""

import torch

from .. import ops
from ..arguments import tensor
from ..ops.arguments import require_alike
from .returned import hint


def check_start(x) -> None:
    """Raise TypeError or ValueError unless x is a state to start from: floating [batch, ...]."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.dim() < 1:
        got = f"{x.dtype} {list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"x: expected a floating-point tensor [batch, ...], got {got}")
    tensor("x", x, floating=False)
    ops.library.require_memory(x=x)


def require_state(x, shape) -> None:
    """Raise unless x can be copied into a state, or a sample of one, of this shape."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x: expected a tensor, got {type(x).__name__}")
    tensor("x", x, floating=False)
    if x.shape != shape:
        raise ValueError(f"x: expected {list(shape)}, got {list(x.shape)}")
    if x.is_complex():
        raise ValueError(f"x: expected real numbers, got {x.dtype}")
    ops.library.require_memory(x=x)
    ops.library.refuse_gradient(x=x)


def plain(out):
    """A tensor, or a list of them, without gradient and with its memory as it reads.

    Raises:
        ValueError: ``out`` is neither a tensor nor a list or tuple of tensors.
        RuntimeError: a gradient would be lost.
    """
    if isinstance(out, torch.Tensor):
        parts = [out]
    elif isinstance(out, (list, tuple)) and out and all(isinstance(o, torch.Tensor) for o in out):
        parts = list(out)
    else:
        got = f"{type(out).__name__}{hint(out)}"
        raise ValueError(f"out: expected a tensor, or a list or tuple of tensors, got {got}")
    for part in parts:
        require_alike(("out",), (part,))
        if part.dtype not in ops.operands.FLOATS:
            raise ValueError(f"out: expected a floating dtype, got {part.dtype}")
    ops.library.refuse_gradient(**{f"out[{g}]": part for g, part in enumerate(parts)})
    parts = [part.resolve_neg() for part in parts]
    return parts if len(parts) > 1 else parts[0]


def split_variance(out, x: torch.Tensor, outputs: int):
    """The model's outputs and the learned variance: halves of the channels, [.., 2 C, ...].

    The variance is that of the last output, the conditional one under guidance. Views, no copies.
    """
    parts = list(out) if isinstance(out, (list, tuple)) else list(out.chunk(outputs))
    channels = x.shape[1] if x.dim() > 1 else 0
    for part in parts:
        if part.dim() != x.dim() or x.dim() < 2 or part.shape[1] != 2 * channels:
            raise ValueError(
                f"out: expected {2 * channels} channels (the last {channels} are the learned "
                f"variance that the table reads), got {list(part.shape)}"
            )
    return [part[:, :channels] for part in parts], parts[-1][:, channels:]


def known_data(known, mask, x: torch.Tensor, wanted: bool):
    """(known, mask) as buffers like the state, or (None, None).

    Raises:
        ValueError: one is missing or of another shape, the mask is not within 0 and 1, or the table
            has no use for them.
    """
    given = {"known": known, "mask": mask}
    if not wanted:
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{name}: expected None, because no row of the table blends known data in "
                    "(solvers such as RePaint or Inpaint do), got a value"
                )
        return None, None
    for name, value in given.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{name}: expected a tensor, because the table blends known data in, "
                f"got {type(value).__name__}"
            )
        if value.is_complex():
            raise ValueError(f"{name}: expected real numbers, got {value.dtype}")
        ops.library.refuse_gradient(**{name: value})
        ops.library.require_memory(**{name: value})
    buffers = [torch.empty_like(x) for _ in given]
    for (name, value), buffer in zip(given.items(), buffers, strict=True):
        try:
            buffer.copy_(value.expand(x.shape))
        except RuntimeError:
            raise ValueError(
                f"{name}: expected a tensor that expands to {list(x.shape)}, "
                f"got {list(value.shape)}"
            ) from None
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError("mask: expected values between 0 and 1, 1 where the sample is known")
    return buffers
