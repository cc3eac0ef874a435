"""torch's own normals on the CPU, in vectors: the bits of ``torch.randn``, several times faster.

How torch makes normals of a generator's words is no promise of torch's, so it is probed, once per
process and dtype, and left to torch where the probe fails.
"""

import functools
import sys

import torch
from torch import Tensor

from ..arguments import instance, tensor
from .arguments import refuse_gradient
from .library import native

LEAST = 512  # numbers for which taking the generator's state out and in pays
BLOCK = 16  # normals that torch makes at once


def randn_(out: Tensor, generator: torch.Generator | None = None, dtype=None) -> Tensor:
    """Fill ``out`` with what ``torch.randn(out.shape, generator=generator, dtype=dtype)`` draws on
    the generator's device, and move the generator on as far.

    The default generator (None) is left to torch: other threads draw from it at the same time.

    Args:
        out: floating, contiguous.
        generator: None for the default one of out's device.
        dtype: the dtype in which the numbers are drawn; default: that of ``out``.
    """
    _check("out", out, generator)
    refuse_gradient(out=out)
    strides = out.stride()
    if 0 in strides and any(n > 1 and s == 0 for n, s in zip(out.shape, strides, strict=True)):
        raise ValueError(f"out: expected memory of its own for each number, got {strides}")
    dtype = out.dtype if dtype is None else instance("dtype", dtype, torch.dtype, "a dtype")
    if not dtype.is_floating_point or dtype.itemsize == 1:
        raise ValueError(f"dtype: expected float32, float64, bfloat16 or float16, got {dtype}")
    usable = (
        generator is not None
        and out.numel() >= LEAST
        and out.dtype is torch.float32
        and out.is_cpu
        and out.is_contiguous()
        and generator.device.type == "cpu"
        and is_same(dtype)
    )
    if not usable:
        return _torch(out, generator, dtype)
    _draw(out, generator)
    return out if dtype is torch.float32 else out.copy_(out.to(dtype))


def skip_like(x: Tensor, generator: torch.Generator | None = None) -> None:
    """Move a generator on as ``torch.randn_like(x)`` does, where possible without its numbers.

    Args:
        x: floating.
        generator: None for the default one of x's device. While other threads of Python could draw
            from it, it is moved by one call of torch, which holds its lock.
    """
    _check("x", x, generator)
    if x.is_cpu and x.numel() >= LEAST and x.is_contiguous() and skips_alike(x.dtype):
        words = _words(x.numel(), x.dtype)
        if generator is not None:
            return _skip(words, generator)
        if len(sys._current_frames()) == 1:
            return _skip(words, torch.default_generator)
        if words % 2 == 0:
            return _skip_by_integers(words)
    torch.empty_like(x).normal_(generator=generator)


def _words(n, dtype):
    """How many words n normals cost: the last block of float32 is drawn twice if it is not whole,
    in half precision it is filled up."""
    rest = n % BLOCK
    return n if rest == 0 else n + BLOCK if dtype is torch.float32 else n - rest + BLOCK


def _skip(words, generator):
    state = generator.get_state()
    native.skip_in_state(state, words)
    generator.set_state(state)


def _skip_by_integers(words, generator=None):
    """An even number of words: an integer of 64 bits costs two."""
    torch.empty(words // 2, dtype=torch.int64, device="cpu").random_(generator=generator)


@functools.cache
def skips_alike(dtype: torch.dtype) -> bool:
    """Whether both ways to skip leave a generator where this torch's normals leave it."""
    if native is None or dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    *ours, stock = (torch.Generator().manual_seed(20111115) for _ in range(3))
    for n in (BLOCK * 624, 10006):
        for skip, generator in zip((_skip, _skip_by_integers), ours, strict=True):
            skip(_words(n, dtype), generator)
        torch.randn(n, generator=stock, dtype=dtype)
    return all(torch.equal(generator.get_state(), stock.get_state()) for generator in ours)


def _check(name, filled, generator):
    if (
        type(filled) is not Tensor
        or filled.dtype is not torch.float32
        or filled.layout is not torch.strided
        or filled.is_nested
    ):
        tensor(name, filled)
    if generator is not None:
        instance("generator", generator, torch.Generator, "a torch.Generator or None")


def _torch(out, generator, dtype):
    device = out.device if generator is None else generator.device
    if dtype is out.dtype and device == out.device:
        return out.normal_(generator=generator)
    return out.copy_(torch.randn(out.shape, generator=generator, dtype=dtype, device=device))


def _draw(out, generator):
    state = generator.get_state()
    native.draw_from_state(state, out)
    generator.set_state(state)


@functools.cache
def is_same(dtype: torch.dtype) -> bool:
    """Whether the native code draws what this torch does on this machine."""
    if native is None or dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    ours, stock = torch.Generator().manual_seed(20111115), torch.Generator().manual_seed(20111115)
    for numel in (16 * 624, 10007):
        drawn = torch.empty(numel, device="cpu")
        _draw(drawn, ours)
        expected = torch.randn(numel, generator=stock, dtype=dtype)
        if not torch.equal(drawn.to(dtype), expected):
            return False
    return torch.equal(ours.get_state(), stock.get_state())
