"""Noise as a contract: which number is drawn where.

Philox4x32-10, counter based. A key is (seed, offset), two int64 holding the bits of torch's uint64
key; sample b of a batch has its own. Draw n of a trajectory of D elements starts n * ceil(D / 4)
blocks behind the key's offset: draw 0 is the initial state, draw n the noise of the n-th row that
draws. So the noise of a sample depends on its key, the draw and the element, and on nothing else:
not on batch size, position in the batch, number of ranks, launch geometry or backend.
"""

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from . import ops
from .arguments import attributes, describe, instance, sizes, tensor, whole
from .arguments import device as device_of
from .ops.reference import MASK, philox

__all__ = [
    "MOST_SAMPLES",
    "draw",
    "fold_in",
    "key",
    "keys",
    "normal",
    "split",
]


MOST_SAMPLES = 2**28  # whose keys fit into memory


def _bits(value: int, name: str) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    try:
        if isinstance(value, bool):
            raise TypeError
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {describe(value)}") from None
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{name}: expected an integer of 64 bits, got {value}")
    return value - 2**64 if value >= 2**63 else value


def _require_keys(name: str, keys, *dims: int) -> None:
    """Raise unless ``keys`` are int64 [..., 2], of so many dimensions."""
    if not isinstance(keys, torch.Tensor):
        raise TypeError(f"{name}: expected an int64 tensor of keys, got {describe(keys)}")
    tensor(name, keys, floating=False)
    ops.library.require_memory(**{name: keys})
    well = keys.dim() in dims if dims else keys.dim() >= 1
    if keys.dtype != torch.int64 or not well or keys.shape[-1] != 2:
        raise ValueError(
            f"{name}: expected int64 keys [..., 2], got {keys.dtype} {list(keys.shape)}"
        )


def key(seed: int, offset: int = 0, *, device="cpu") -> torch.Tensor:
    """[2] int64: the stream ``seed``, from block ``offset`` on."""
    bits = [_bits(seed, "seed"), _bits(offset, "offset")]
    return torch.tensor(bits, device=device_of("device", device))


def keys(seeds: int | Sequence[int] | torch.Tensor, batch: int, *, device="cpu") -> torch.Tensor:
    """[batch, 2] int64 keys, one for each sample.

    Args:
        seeds: one int: sample b gets seed ``seeds + b`` (so sample b of seed s is sample 0 of seed
            s + b); or ``batch`` ints; or an int64 tensor of seeds [batch] or of keys [batch, 2].
    """
    batch, device = whole("batch", batch, least=0, most=MOST_SAMPLES), device_of("device", device)
    if not isinstance(seeds, torch.Tensor) and hasattr(seeds, "tolist"):  # of numpy
        seeds = seeds.tolist()
    if isinstance(seeds, torch.Tensor):
        tensor("seeds", seeds, floating=False)
        ops.library.require_memory(seeds=seeds)
        if seeds.dtype != torch.int64 or seeds.shape not in ((batch,), (batch, 2)):
            raise ValueError(
                f"seeds: expected int64 [{batch}] or [{batch}, 2], "
                f"got {seeds.dtype} {list(seeds.shape)}"
            )
        if seeds.dim() == 2:
            return seeds.to(device, copy=True).contiguous()
        return torch.stack((seeds, torch.zeros_like(seeds)), dim=1).to(device)
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        if len(seeds) != batch:
            raise ValueError(f"seeds: expected {batch} (one per sample), got {len(seeds)}")
        values = [_bits(s, f"seeds[{b}]") for b, s in enumerate(seeds)]
    else:
        first = _bits(seeds, "seeds")
        counted = torch.arange(batch, device="cpu") + first  # wraps around, as the bits do
        return torch.stack((counted, torch.zeros_like(counted)), dim=1).to(device)
    return torch.tensor([[v, 0] for v in values], dtype=torch.int64, device=device).reshape(-1, 2)


def fold_in(key: torch.Tensor, data: int) -> torch.Tensor:
    """A new independent key [..., 2] from a key [..., 2] int64 and an integer
    (``torch.func._random.fold_in``).

    Note that fold_in(key, i) and normal(key) at block i come from the same bits: never use one key
    for both.
    """
    _require_keys("key", key)
    flat = key.reshape(-1, 2)
    block = flat[:, 1] + _bits(data, "data")
    zero = torch.zeros_like(block)
    w0, w1, w2, w3 = philox(
        (block & MASK, (block >> 32) & MASK, zero, zero),
        (flat[:, 0] & MASK, (flat[:, 0] >> 32) & MASK),
    )
    return torch.stack((w0 | (w1 << 32), w2 | (w3 << 32)), dim=-1).reshape(key.shape)


def split(key: torch.Tensor, count: int) -> torch.Tensor:
    """[count, 2] independent keys from one key [2]: split(key, n)[i] == fold_in(key, i)."""
    _require_keys("key", key)
    if key.dim() != 1:
        raise ValueError(f"key: expected one key [2], got {list(key.shape)}")
    count = whole("count", count, least=0, most=MOST_SAMPLES)
    first = torch.stack((key[0].expand(count), key[1] + torch.arange(count, device=key.device)), 1)
    return fold_in(first, 0)


def draw(keys: torch.Tensor, shape, number: int = 0) -> torch.Tensor:
    """[B, *shape] float32: draw ``number`` of each sample's trajectory (0: the initial state)."""
    _require_keys("keys", keys, 2)
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"number: expected an integer from 0 on, got {describe(number)}")
    keys, shape = keys.clone(), sizes("shape", shape)
    keys[..., 1] += _bits(number * -(-math.prod(shape) // 4) % 2**64, "number")
    return ops.normal(keys, shape)


def normal(keys: torch.Tensor, shape, *, dtype=torch.float32, device=None) -> torch.Tensor:
    """Standard normals of each key, as ``torch.func._random.normal`` draws them.

    Args:
        keys: [2] or [K, 2] int64.
        shape: shape of one event; the result is [*shape] or [K, *shape].
        dtype: float32, float64, float16 or bfloat16.
        device: where to draw; default: where the keys are.
    """
    _require_keys("keys", keys, 1, 2)
    shape = sizes("shape", shape)
    instance("dtype", dtype, torch.dtype, "a floating dtype")
    keys = keys if device is None else keys.to(device_of("device", device))
    if keys.dim() == 1:
        return ops.normal(keys[None], shape, dtype=dtype)[0]
    return ops.normal(keys, shape, dtype=dtype)


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
