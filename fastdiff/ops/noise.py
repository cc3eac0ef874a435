"""Standard normals as a pure function of keys."""

import torch
from torch.compiler import is_compiling

from ..arguments import describe, sizes
from . import reference, triton
from .arguments import require_alike, require_tensors
from .library import define
from .select import operation

define(
    "normal_(Tensor(a!) out, Tensor keys) -> ()",
    reference.normal_,
    lambda out, keys: None,
    triton.normal_,
)

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def normal(keys: torch.Tensor, shape, *, dtype=torch.float32) -> torch.Tensor:
    """[K, *shape] standard normals: event k is the Philox stream of ``keys[k]``.

    Algorithm of ``torch.func._random.normal``: Philox4x32-10, counter (offset + block, 0),
    Box-Muller with the cosine first, four float32 normals (two float64) to a block.

    Args:
        keys: [K, 2] int64, the bits of (seed, offset); offset counts blocks of 128 bits.
        shape: shape of one event.
        dtype: float32 or float64; float16 and bfloat16 are the float32 normals, rounded.
    """
    require_tensors(keys=keys)
    require_alike(("keys",), (keys,))
    if keys.dtype != torch.int64 or keys.dim() != 2 or keys.shape[1] != 2:
        raise ValueError(f"keys: expected int64 [K, 2], got {keys.dtype} {list(keys.shape)}")
    shape = shape if is_compiling() else sizes("shape", shape)
    if not isinstance(dtype, torch.dtype) or dtype not in (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
    ):
        raise ValueError(f"dtype: expected a floating dtype, got {describe(dtype)}")
    drawn = dtype if dtype == torch.float64 else torch.float32
    out = torch.empty((len(keys), *shape), dtype=drawn, device=keys.device)
    operation("normal_", out.device)(out, keys)
    return out.to(dtype)
