"""What one row does to a tile, a run of elements of one sample: the formula of csrc/core/element.h.

Terms are summed in the order of ``OPERANDS`` (x s m o u h0..h3 z zp), each by one fma, and an
operand whose coefficient is zero is not read and does not count, whatever it holds.
"""

import triton
import triton.language as tl

from .math import divide, exp
from .normal import normals

N_OPERANDS = tl.constexpr(11)


@triton.jit
def read(pointer, at, wanted, dtype: tl.constexpr):
    """Elements ``at`` as ``dtype``; zero where not wanted, or where there is no such operand."""
    if pointer is None:
        return tl.zeros(at.shape, dtype)
    else:
        return tl.load(pointer + at, mask=wanted, other=0.0).to(dtype)


@triton.jit
def state(x, x_in, at, from_x, wanted, dtype: tl.constexpr):
    """x where it lies in the state, or in what the caller gave to be read in its place."""
    if x_in is None:
        return read(x, at, wanted, dtype)
    else:
        return read(x_in, from_x, wanted, dtype)


@triton.jit
def only(inside, wanted):
    """``inside`` where a condition of the whole row holds, else nothing. (Under the interpreter,
    a scalar condition keeps the dtype of what was compared, and ``&`` refuses it.)"""
    return tl.where(wanted, inside, False)


@triton.jit
def offsets(place, sample, sizes, strides, DIMS: tl.constexpr):
    """Where the elements ``place`` of a sample lie in a tensor of any strides. ``strides`` are that
    of the samples and those of the dimensions whose ``sizes`` these are."""
    at = tl.zeros(place.shape, tl.int64) + sample * strides[0]
    rest = place
    for k in tl.static_range(DIMS - 1):
        size = sizes[DIMS - 1 - k]
        at += (rest % size).to(tl.int64) * strides[DIMS - k]
        rest = rest // size
    return at + rest.to(tl.int64) * strides[1]


@triton.jit
def remembered(
    history, k: tl.constexpr, at, total, inside, here,
    SLOTS: tl.constexpr, dtype: tl.constexpr, COLUMN: tl.constexpr,
):  # fmt: skip
    """Ring slot k, where there is one."""
    if k < SLOTS:
        wanted = only(inside, either(here, COLUMN.c_h0 + k, COLUMN.d_h0 + k))
        return read(history, k * total + at, wanted, dtype)
    else:
        return tl.zeros(at.shape, dtype)


@triton.jit
def term(total, coefficient, operand):
    return tl.where(coefficient != 0, tl.fma(coefficient, operand, total), total)


@triton.jit
def either(here, first: tl.constexpr, second: tl.constexpr):
    """Whether a row has a coefficient in either of two columns."""
    return (tl.load(here + first) != 0) | (tl.load(here + second) != 0)


@triton.jit
def mixture(here, first: tl.constexpr, operands, PRESENT: tl.constexpr):
    """The sum of coefficient * operand, coefficients from column ``first`` on."""
    total = tl.zeros(operands[0].shape, operands[0].dtype)
    for i in tl.static_range(N_OPERANDS):
        if PRESENT[i]:
            total = term(total, tl.load(here + first + i), operands[i])
    return total


@triton.jit
def any_of(here, first: tl.constexpr):
    """Whether a mixture has any coefficient."""
    found = tl.load(here + first) != 0
    for i in tl.static_range(1, N_OPERANDS):
        found = found | (tl.load(here + first + i) != 0)
    return found


@triton.jit
def weight(weights, at, g: tl.constexpr, dtype: tl.constexpr):
    """The weight of output g; without weights the first output is taken as it is."""
    if weights is None:
        return tl.full([], 1.0 if g == 0 else 0.0, dtype)
    else:
        return tl.load(weights + at + g)


@triton.jit
def mixes(
    outputs, weights, second_weights, weight_at, reads_o, reads_u,
    place, sample, inside, sizes, strides, G: tl.constexpr, DIMS: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """o and u, reading each output once, and only if one of them needs it."""
    o = tl.zeros(place.shape, dtype)
    u = tl.zeros(place.shape, dtype)
    if outputs is not None:
        for g in tl.static_range(G):
            w = weight(weights, weight_at, g, dtype)
            v = weight(second_weights, weight_at, g, dtype)
            wanted = only(inside, (reads_o & (w != 0)) | (reads_u & (v != 0)))
            at = offsets(place, sample, sizes, strides[g], DIMS)
            out = read(outputs[g], at, wanted, dtype)
            o = term(o, w, out)
            u = term(u, v, out)
    return o, u


@triton.jit
def x0_before_clip(here, x, o, COLUMN: tl.constexpr):
    """p_x x + p_o o, before clipping."""
    m = term(tl.zeros(x.shape, x.dtype), tl.load(here + COLUMN.p_x), x)
    return term(m, tl.load(here + COLUMN.p_o), o)


@triton.jit
def clip(m, here, threshold, sample, COLUMN: tl.constexpr):
    """m within its range, or within the sample's own and divided by it; NaN stays NaN."""
    low = tl.load(here + COLUMN.clip_lo)
    high = tl.load(here + COLUMN.clip_hi)
    if threshold is None:
        return tl.where(m < low, low, tl.where(m > high, high, m))
    else:
        own = tl.load(here + COLUMN.dynamic) > 0
        bound = tl.load(threshold + sample)
        low = tl.where(own, -bound, low)
        high = tl.where(own, bound, high)
        m = tl.where(m < low, low, tl.where(m > high, high, m))
        return tl.where(own, divide(m, tl.broadcast_to(bound, m.shape)), m)


@triton.jit
def draw(
    given, number, wanted, keys, sample, tile, numel, at, inside,
    TILE: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """Draw ``number`` of a sample, on its tile: given by the caller, or from its stream, where a
    draw takes whole blocks. Float32 normals, whatever the state: a seed means one path."""
    if given is None:
        z = tl.zeros([TILE], dtype)
        if wanted:
            seed = tl.load(keys + 2 * sample)
            first = tl.load(keys + 2 * sample + 1) + number * ((numel - 1) // 4 + 1)
            z = normals(seed, first + tile * (TILE // 4), TILE).to(dtype)
        return z
    else:
        return read(given, at, only(inside, wanted), dtype)


@triton.jit
def gained(z, here, gain, at, inside, COLUMN: tl.constexpr):
    """z exp(g_0 + g_1 gain)."""
    g_0 = tl.load(here + COLUMN.g_0)
    g_1 = tl.load(here + COLUMN.g_1)
    operand = read(gain, at, only(inside, g_1 != 0), z.dtype)
    scaled = z
    if (g_0 != 0) | (g_1 != 0):
        scaled = z * exp(tl.fma(g_1, operand, tl.broadcast_to(g_0, z.shape)))
    return scaled


@triton.jit
def remember(here, x, m, o, u, COLUMN: tl.constexpr):
    """What a row writes into the history ring."""
    memory = term(tl.zeros(x.shape, x.dtype), tl.load(here + COLUMN.e_x), x)
    memory = term(memory, tl.load(here + COLUMN.e_m), m)
    memory = term(memory, tl.load(here + COLUMN.e_o), o)
    return term(memory, tl.load(here + COLUMN.e_u), u)


@triton.jit
def blend(following, here, known, mask, z, COLUMN: tl.constexpr):
    """mask (k_known known + k_z z) + (1 - mask) x' where a row has known data."""
    target = term(tl.zeros(z.shape, z.dtype), tl.load(here + COLUMN.k_known), known)
    target = term(target, tl.load(here + COLUMN.k_z), z)
    blended = tl.fma(mask, target, (1.0 - mask) * following)
    return tl.where(either(here, COLUMN.k_known, COLUMN.k_z), blended, following)


@triton.jit
def narrow(value, dtype: tl.constexpr):
    """As another dtype; a double becomes a half by way of a float, as on every backend."""
    if dtype == tl.float64 or dtype == tl.float32:
        return value.to(dtype)
    else:
        return value.to(tl.float32).to(dtype)


@triton.jit
def advance(index, row, here, t, live, samples, batch, G: tl.constexpr, COLUMN: tl.constexpr):
    """Write the next timesteps of samples that are ``live``, and move them on by one row."""
    if t is not None:
        scale = tl.load(here + COLUMN.in_scale, mask=live, other=0.0)
        time = tl.load(here + COLUMN.t_next, mask=live, other=0.0).to(t.dtype.element_ty)
        for g in tl.static_range(G):
            tl.store(
                t + g * batch.to(tl.int64) + samples, time, mask=tl.where(live, scale != 0, False)
            )
    tl.store(row + samples, index + 1, mask=live)
