"""The five sums behind every quadratic guidance, in float64 and in the order of
csrc/core/moments.h, which depends on the element's index alone: the same bits on every backend."""

import torch
import triton
import triton.language as tl

from .launch import launch

LANES = 128  # element i adds to lane i % LANES
PARTIAL_LANES = 32
CHUNK = 32 * LANES  # elements of a sample that one program sums up
SUMS = 5


@triton.jit
def fold(lanes, LANES: tl.constexpr):
    """The sum of all lanes, folded in halves."""
    for k in tl.static_range(1, 8):  # 128 = 2^7
        lanes = tl.sum(tl.reshape(lanes, [2, LANES >> k]), axis=0)
    return tl.sum(lanes, axis=0)


@triton.jit
def chunk_kernel(
    out, a, b, numel, a_stride, b_stride, CHUNK: tl.constexpr, LANES: tl.constexpr
):  # fmt: skip
    """out [batch, chunks, 5]: the sums of each chunk of each sample."""
    chunks = (numel - 1) // CHUNK + 1
    unit = tl.program_id(0).to(tl.int64)
    sample = unit // chunks
    first = (unit % chunks) * CHUNK
    a += sample * a_stride
    b += sample * b_stride
    sum_a = tl.zeros([LANES], tl.float64)
    sum_b = tl.zeros([LANES], tl.float64)
    sum_aa = tl.zeros([LANES], tl.float64)
    sum_ab = tl.zeros([LANES], tl.float64)
    sum_bb = tl.zeros([LANES], tl.float64)
    for at in range(0, CHUNK, LANES):
        place = first + at + tl.arange(0, LANES)
        inside = place < numel
        va = tl.load(a + place, mask=inside, other=0.0).to(tl.float64)
        vb = tl.load(b + place, mask=inside, other=0.0).to(tl.float64)
        sum_a += va
        sum_b += vb
        sum_aa = tl.fma(va, va, sum_aa)
        sum_ab = tl.fma(va, vb, sum_ab)
        sum_bb = tl.fma(vb, vb, sum_bb)
    out += unit * 5
    tl.store(out, fold(sum_a, LANES))
    tl.store(out + 1, fold(sum_b, LANES))
    tl.store(out + 2, fold(sum_aa, LANES))
    tl.store(out + 3, fold(sum_ab, LANES))
    tl.store(out + 4, fold(sum_bb, LANES))


@triton.jit
def total_kernel(out, partial, chunks, PARTIAL_LANES: tl.constexpr):
    """out [batch, 5]: the sums of partial [batch, chunks, 5]; chunk p adds to lane
    p % PARTIAL_LANES, which are folded in their turn."""
    sample = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, 8)
    lane = tl.arange(0, PARTIAL_LANES)
    partial += sample * chunks * 5
    lanes = tl.zeros([PARTIAL_LANES, 8], tl.float64)
    first = 0
    while first < chunks:
        chunk = first + lane[:, None]
        inside = (chunk < chunks) & (column[None, :] < 5)
        lanes += tl.load(partial + chunk * 5 + column[None, :], mask=inside, other=0.0)
        first += PARTIAL_LANES
    for k in tl.static_range(1, 6):  # 32 = 2^5
        lanes = tl.sum(tl.reshape(lanes, [2, PARTIAL_LANES >> k, 8]), axis=0)
    total = tl.sum(lanes, axis=0)
    tl.store(out + sample * 5 + column, total, mask=column < 5)


def moments_(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """out [B, 5] float64 contiguous; a, b [B, numel] of one dtype."""
    batch, numel = a.shape
    a, b = (v if v.stride(1) == 1 else v.contiguous() for v in (a, b))
    if batch * numel == 0:
        out.zero_()
        return
    chunks = triton.cdiv(numel, CHUNK)
    partial = out if chunks == 1 else out.new_empty(batch, chunks, SUMS)
    launch(
        chunk_kernel, batch * chunks, out.device, partial, a, b, numel, a.stride(0), b.stride(0),
        CHUNK=CHUNK, LANES=LANES,
    )  # fmt: skip
    if chunks > 1:
        launch(total_kernel, batch, out.device, out, partial, chunks, PARTIAL_LANES=PARTIAL_LANES)
