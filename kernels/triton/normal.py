"""Standard normals as a pure function of keys: Box-Muller on Philox words, cosine first."""

import torch
import triton
import triton.language as tl

from .launch import launch, tile_of
from .math import fma, log, sincos_turns, sqrt
from .philox import words


@triton.jit
def box_muller(u1, u2):
    """(R cos 2 pi u2, R sin 2 pi u2), R = sqrt(-2 log u1)."""
    radius = sqrt(-2.0 * log(u1))
    sine, cosine = sincos_turns(u2)
    return radius * cosine, radius * sine


@triton.jit
def unit_interval(word):
    """A word as a float in (0, 1]."""
    return fma(word.to(tl.float32), tl.full(word.shape, 2.0**-32, tl.float32), 2.0**-33)


@triton.jit
def wide_unit_interval(high, low):
    """Two words as a double in (0, 1]."""
    fraction = low.to(tl.float64) * 2.0**-64 + 2.0**-65
    return tl.fma(high.to(tl.float64), tl.full(high.shape, 2.0**-32, tl.float64), fraction)


@triton.jit
def normals(seed, first, SIZE: tl.constexpr):
    """[SIZE] float32 normals of a stream, four to a block, from block ``first`` on."""
    w0, w1, w2, w3 = words(seed, first + tl.arange(0, SIZE // 4))
    z0, z1 = box_muller(unit_interval(w0), unit_interval(w1))
    z2, z3 = box_muller(unit_interval(w2), unit_interval(w3))
    # join() appends a dimension: [block, lane // 2 of the pair, lane % 2] in the end
    return tl.reshape(tl.join(tl.join(z0, z2), tl.join(z1, z3)), [SIZE])


@triton.jit
def wide_normals(seed, first, SIZE: tl.constexpr):
    """[SIZE] float64 normals, two to a block."""
    w0, w1, w2, w3 = words(seed, first + tl.arange(0, SIZE // 2))
    z0, z1 = box_muller(wide_unit_interval(w0, w1), wide_unit_interval(w2, w3))
    return tl.reshape(tl.join(z0, z1), [SIZE])


@triton.jit
def normal_kernel(out, keys, numel, TILE: tl.constexpr):
    tiles = (numel - 1) // TILE + 1
    unit = tl.program_id(0)
    event = (unit // tiles).to(tl.int64)
    tile = (unit % tiles).to(tl.int64)
    seed = tl.load(keys + 2 * event)
    first = tl.load(keys + 2 * event + 1)
    if out.dtype.element_ty == tl.float64:
        z = wide_normals(seed, first + tile * (TILE // 2), TILE)
    else:
        z = normals(seed, first + tile * (TILE // 4), TILE)
    place = tile * TILE + tl.arange(0, TILE)
    tl.store(out + event * numel + place, z, mask=place < numel)


def normal_(out: torch.Tensor, keys: torch.Tensor) -> None:
    """out [K, ...] contiguous, float32 or float64; keys [K, 2] int64."""
    keys = keys.contiguous()
    events, numel = len(out), out[0].numel() if len(out) else 0
    if events * numel == 0:
        return
    tile = tile_of(events, numel, out.element_size())
    programs = events * triton.cdiv(numel, tile)
    launch(normal_kernel, programs, out.device, out, keys, numel, TILE=tile)
