"""The five sums behind every quadratic guidance."""

import torch

from . import reference, triton
from .arguments import refuse_gradient, require_alike, require_tensors
from .library import define
from .select import operation, wide

define(
    "moments_(Tensor(a!) out, Tensor a, Tensor b) -> ()",
    reference.moments_,
    lambda out, a, b: None,
    triton.moments_,
)


def moments(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[B, 5] float64: per sample sum a, sum b, sum a a, sum a b, sum b b. (float32 on devices that
    have no float64.)

    The order of summation depends on the element's index only, so a sample's moments do not depend
    on its batch, the number of threads or the processor.

    Args:
        a, b: [B, ...] of one floating dtype and shape.
    """
    require_tensors(a=a, b=b)
    require_alike(("a", "b"), (a, b))
    refuse_gradient(a=a, b=b)
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device or a.dim() < 1:
        raise ValueError(
            f"b: expected {a.dtype} {list(a.shape)} on {a.device} like a, "
            f"got {b.dtype} {list(b.shape)} on {b.device}"
        )
    out = torch.empty(len(a), 5, dtype=wide(a.device), device=a.device)
    shape = (len(a), a.numel() // max(len(a), 1))
    moments_(out, a.reshape(shape), b.reshape(shape))
    return out


def moments_(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """``moments`` of a, b [B, numel], alike and without gradient, into ``out``."""
    operation("moments_", out.device)(out, a, b)
