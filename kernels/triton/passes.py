"""The operations of training: one pass over a batch, elementwise outputs and sums of each sample.

Sums are taken in float64 in the order of csrc/core/sums.h, which depends on the element's index
alone: the same on every backend. What the native code prepares from the numbers of a sample in
float64 is prepared here by torch, on tensors [B].
"""

import math

import torch
import triton
import triton.language as tl

from .launch import launch
from .normal import normals, wide_normals

LANES = 512  # element i of a chunk adds to lane i % LANES
CHUNK = 4 * LANES  # elements of a sample that one program goes over
PARTIAL_LANES = 32  # chunk p adds to lane p % PARTIAL_LANES


@triton.jit
def fold(lanes, SIZE: tl.constexpr, STEPS: tl.constexpr):
    """The sum of SIZE = 2^STEPS lanes, folded in halves."""
    for k in tl.static_range(1, STEPS):
        lanes = tl.sum(tl.reshape(lanes, [2, SIZE >> k]), axis=0)
    return tl.sum(lanes, axis=0)


@triton.jit
def read(pointer, sample, place, inside, strides, dtype: tl.constexpr):
    if pointer is None:
        return tl.zeros(place.shape, dtype)
    else:
        at = sample * strides[0] + place * strides[1]
        return tl.load(pointer + at, mask=inside, other=0.0).to(dtype)


@triton.jit
def number(pointer, sample, place, dtype: tl.constexpr):
    if pointer is None:
        return tl.zeros(place.shape, dtype)
    else:
        return tl.load(pointer + sample).to(dtype) + tl.zeros(place.shape, dtype)


@triton.jit
def store(pointer, at, value, inside):
    if pointer is not None:
        tl.store(pointer + at, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def pass_kernel(
    a, b, c, d, noise, keys, p, q, r, s, factor, out0, out1, out2, out3, result, numel,
    strides, noise_strides,
    FORMULA: tl.constexpr, DEPTH: tl.constexpr, SUMS: tl.constexpr, DTYPE: tl.constexpr,
    CHUNK: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """One chunk of a sample; result [batch, chunks, SUMS]."""
    chunks = (numel - 1) // CHUNK + 1
    unit = tl.program_id(0).to(tl.int64)
    sample = unit // chunks
    first = (unit % chunks) * CHUNK
    sum0 = tl.zeros([LANES], tl.float64)
    sum1 = tl.zeros([LANES], tl.float64)
    sum2 = tl.zeros([LANES], tl.float64)
    sum3 = tl.zeros([LANES], tl.float64)
    for row in range(0, tl.minimum(CHUNK, numel - first).to(tl.int32), LANES):
        place = first + row + tl.arange(0, LANES)
        inside = place < numel
        zero = tl.zeros([LANES], DTYPE)
        if keys is None:
            z = read(noise, sample, place, inside, noise_strides, DTYPE)
        else:
            seed = tl.load(keys + 2 * sample)
            block = tl.load(keys + 2 * sample + 1)
            if DTYPE == tl.float64:
                z = wide_normals(seed, block + (first + row) // 2, LANES)
            else:
                z = normals(seed, block + (first + row) // 4, LANES)
        o0, o1, o2, o3, t0, t1, t2, t3 = FORMULA(
            read(a, sample, place, inside, strides[0], DTYPE),
            read(b, sample, place, inside, strides[1], DTYPE),
            read(c, sample, place, inside, strides[2], DTYPE),
            read(d, sample, place, inside, strides[3], DTYPE),
            z, number(p, sample, place, DTYPE), number(q, sample, place, DTYPE),
            number(r, sample, place, DTYPE), number(s, sample, place, DTYPE), zero, DEPTH,
        )  # fmt: skip
        at = sample * numel + place
        store(out0, at, o0, inside)
        store(out1, at, o1, inside)
        store(out2, at, o2, inside)
        store(out3, at, o3, inside)
        if SUMS > 0:
            sum0 += tl.where(inside, t0.to(tl.float64), 0.0)
        if SUMS > 1:
            sum1 += tl.where(inside, t1.to(tl.float64), 0.0)
            sum2 += tl.where(inside, t2.to(tl.float64), 0.0)
            sum3 += tl.where(inside, t3.to(tl.float64), 0.0)
    if SUMS > 0:
        scale = tl.load(factor + sample)
        to = result + unit * SUMS
        store(to, 0, scale * fold(sum0, LANES, 9), True)
        if SUMS > 1:
            store(to, 1, scale * fold(sum1, LANES, 9), True)
            store(to, 2, scale * fold(sum2, LANES, 9), True)
            store(to, 3, scale * fold(sum3, LANES, 9), True)


@triton.jit
def results_kernel(result, partial, chunks, SUMS: tl.constexpr, LANES: tl.constexpr):
    """result [batch, SUMS] from partial [batch, chunks, SUMS]."""
    unit = tl.program_id(0).to(tl.int64)
    partial += (unit // SUMS) * chunks * SUMS + unit % SUMS
    lanes = tl.zeros([LANES], tl.float64)
    for first in range(0, chunks, LANES):
        chunk = first + tl.arange(0, LANES)
        lanes += tl.load(partial + chunk * SUMS, mask=chunk < chunks, other=0.0)
    store(result + unit, 0, fold(lanes, LANES, 5), True)


def run(form, like, inputs, *, noise=None, numbers=(), factor=None, outputs=(), sums=0,
        dtype=None, depth=2):  # fmt: skip
    """Runs a formula over samples of the shape of ``like``.

    Args:
        form: of ``formula``.
        inputs: up to four tensors like ``like`` or None, any strides.
        noise: another one, keys [B, 2], or None.
        numbers: up to four [B] float64.
        factor: [B] float64 that sums are multiplied by, or a number.
        outputs: up to four tensors to be filled, or None.
        sums: how many sums of each sample are made: 0, 1 or 4.
        dtype: of the result; default: float64 if ``like`` is, else float32.

    Returns:
        [B] or [B, 4], or None without sums.
    """
    batch, numel = len(like), math.prod(like.shape[1:])
    wide = like.dtype == torch.float64
    dtype = dtype or (torch.float64 if wide else torch.float32)
    result = None
    if sums:
        result = like.new_zeros((batch, sums) if sums > 1 else (batch,), dtype=dtype)
        if not isinstance(factor, torch.Tensor):
            factor = like.new_full((batch,), factor, dtype=torch.float64)
    if batch * numel == 0:
        return result
    chunks = triton.cdiv(numel, CHUNK)
    partial = result if chunks == 1 or not sums else result.new_empty(
        batch, chunks, sums, dtype=torch.float64)  # fmt: skip
    drawn = noise is not None and not noise.is_floating_point()
    keys = noise.contiguous() if drawn else None
    *read, (given, given_strides) = [
        flat(v, numel) for v in (*padded(inputs), None if drawn else noise)
    ]
    tensors, strides = zip(*read, strict=True)
    launch(
        pass_kernel, batch * chunks, like.device, *tensors, given, keys, *padded(numbers), factor,
        *padded(outputs), partial, numel, strides, given_strides,
        FORMULA=form, DEPTH=depth, SUMS=sums, DTYPE=tl.float64 if wide else tl.float32,
        CHUNK=CHUNK, LANES=LANES, num_warps=8 if wide else 4,
    )  # fmt: skip
    if sums and chunks > 1:
        launch(results_kernel, batch * sums, like.device, result, partial, chunks, SUMS=sums,
               LANES=PARTIAL_LANES)  # fmt: skip
    return result


def padded(values) -> tuple:
    return (*values, *[None] * (4 - len(values)))


def flat(tensor, numel: int):
    """(tensor, (stride of samples, stride of elements)): in place where the elements of a sample
    lie evenly, else a copy."""
    if tensor is None:
        return None, (0, 0)
    if all(stride == 0 for stride, size in zip(tensor.stride()[1:], tensor.shape[1:], strict=True)
           if size > 1):  # fmt: skip
        return tensor, (tensor.stride(0), 0)
    if not tensor[0].is_contiguous():
        tensor = tensor.contiguous()
    return tensor, (tensor.stride(0), 1)


def empty(tensor):
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def wanted_outputs(wanted, tensors):
    """(room for the gradients, those of them that are wanted)."""
    outputs = [empty(t) if want else None for t, want in zip(tensors, wanted, strict=True)]
    return outputs, [out for out in outputs if out is not None]
