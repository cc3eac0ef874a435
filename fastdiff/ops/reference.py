"""The operations in plain PyTorch: the oracle of every backend and the fallback on any device.

Arithmetic is float64 throughout, rounded once on store; float32 on devices that have no float64.
Philox runs on int64 tensors, so the words are those of every other backend and the normals differ
by the rounding of float32 only.
"""

import math
from types import SimpleNamespace
from typing import Any

import torch

from ..row import COLUMN, HISTORY, TERMS
from . import select
from .operands import NAMES

MASK = 0xFFFFFFFF
ROUND_CONSTANTS = (0xD2511F53, 0xCD9E8D57)
KEY_CONSTANTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the dtype of the arithmetic on its device."""
    return tensor.to(select.wide(tensor.device))


def philox(counter, key) -> tuple[torch.Tensor, ...]:
    """Philox4x32-10 (Salmon et al., SC 2011). Four counter words, two key words, four words out;
    all int64 tensors holding 32-bit values."""
    c0, c1, c2, c3, k0, k1 = torch.broadcast_tensors(*counter, *key)
    # A round does the same to both halves of the counter, so they are the rows of two tensors.
    even, odd, keys = torch.stack((c0, c2)), torch.stack((c3, c1)), torch.stack((k1, k0))
    # Filled on the device: a copy from the host would make a captured graph impossible.
    constants, advance = (
        torch.stack([torch.full_like(c0, value) for value in values])
        for values in (ROUND_CONSTANTS, KEY_CONSTANTS[::-1])
    )
    for _ in range(ROUNDS):
        product = constants * even  # wraps around at 2^64, which keeps all of its bits
        even = (((product >> 32) & MASK) ^ odd ^ keys).flip(0)
        odd = product & MASK
        keys = (keys + advance) & MASK
    return even[0], odd[1], even[1], odd[0]


def words(keys: torch.Tensor, blocks: int, first=0) -> torch.Tensor:
    """[events, blocks, 4] words of each key (seed, offset), from block offset + first on."""
    index = torch.arange(blocks, device=keys.device)
    block = (keys[:, 1] + first)[:, None] + index  # wraps around at 2^64
    zero = torch.zeros_like(block)
    seed = keys[:, :1].expand_as(block)
    counter = (block & MASK, (block >> 32) & MASK, zero, zero)
    return torch.stack(philox(counter, (seed & MASK, (seed >> 32) & MASK)), dim=-1)


def normals(keys: torch.Tensor, numel: int, first=0) -> torch.Tensor:
    """[events, numel] standard normals, widened, from float32 uniforms: lanes of a block are
    R1 cos(2 pi u2), R1 sin(2 pi u2), R2 cos(2 pi u4), R2 sin(2 pi u4), R = sqrt(-2 log u)."""
    w = words(keys, -(-numel // 4), first)
    # fma(float(w), 2^-32, 2^-33): the product is exact, so that the sum is rounded once.
    u = widened(w.to(torch.float32) * 2.0**-32 + 2.0**-33)
    radius = torch.sqrt(-2.0 * torch.log(u[..., 0::2]))
    angle = 2.0 * torch.pi * u[..., 1::2]
    lanes = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return lanes.flatten(1)[:, :numel]


def wide_normals(keys: torch.Tensor, numel: int) -> torch.Tensor:
    """[events, numel] float64 normals from 64-bit uniforms, two to a block."""
    w = words(keys, -(-numel // 2)).double()
    u = w[..., 0::2] * 2.0**-32 + (w[..., 1::2] * 2.0**-64 + 2.0**-65)
    radius = torch.sqrt(-2.0 * torch.log(u[..., 0]))
    angle = 2.0 * torch.pi * u[..., 1]
    lanes = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return lanes.flatten(1)[:, :numel]


def drawn(noise: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The normals that keys [B, 2] stand for, in the shape of ``like`` [B, ...] and as precise as
    ``fastdiff.ops.normal`` draws them for its dtype; given normals as they are."""
    if noise.is_floating_point():
        return noise
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    out = torch.empty(like.shape, dtype=dtype, device=like.device)
    normal_(out, noise)
    return out


def normal_(out: torch.Tensor, keys: torch.Tensor) -> None:
    events, numel = len(out), math.prod(out.shape[1:])
    if keys.dtype != torch.int64 or keys.shape != (events, 2):
        raise ValueError(f"keys: expected int64 [{events}, 2], got {keys.dtype} {list(keys.shape)}")
    make = wide_normals if out.dtype == torch.float64 else normals
    out.copy_(make(keys, numel).reshape(out.shape))


def moments_(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    a, b = widened(a), widened(b)
    sums = (a, b, a * a, a * b, b * b)
    out.copy_(torch.stack([s.sum(dim=1) for s in sums], dim=1))


def _parts(stacked: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The ``count`` tensors [B, ...] of a stacked one [count * B, ...]."""
    return list(stacked.reshape(count, stacked.shape[0] // count, *stacked.shape[1:]))


def _mix(coefficients, operands):
    """Sum of coefficient * operand; where a coefficient is zero the operand does not count."""
    total = coefficients[0].new_zeros(())
    for c, v in zip(coefficients, operands, strict=True):
        if v is not None:
            total = total + torch.where(c == 0, 0.0, c * torch.where(c == 0, 0.0, v.to(c.dtype)))
    return total


def _thresholds(m, q, highest):
    """The q-quantile of |m| over each sample, within [1, highest]; shaped like q."""
    if not m.numel():
        return torch.ones_like(q)
    ordered = m.abs().flatten(1).sort(dim=1).values
    place = q.flatten().clamp(0, 1) * (ordered.shape[1] - 1)
    below = place.long()
    pair = torch.stack((below, (below + 1).clamp(max=ordered.shape[1] - 1)), dim=1)
    low, high = ordered.gather(1, pair).unbind(dim=1)
    quantile = torch.lerp(low, high, place - below)
    return torch.minimum(quantile.clamp(min=1).reshape(q.shape), highest)


def step_(**operands) -> None:
    """See ``fastdiff.ops.step_`` for the operands and ``fastdiff/row.py`` for the formula."""
    of = SimpleNamespace(**dict.fromkeys(NAMES) | operands)
    row, rows, outputs = of.row, of.rows, of.outputs
    batch, numel = len(of.x), math.prod(of.x.shape[1:])
    wrong: Any = row[(row < 0) | (row >= len(rows))] if row.device.type == "cpu" else ()
    if len(wrong):
        raise ValueError(f"row: expected indices in [0, {len(rows)}), got {int(wrong[0])}")
    per_sample = (batch, *[1] * (of.x.dim() - 1))
    current = widened(rows[row])

    def column(name):
        return current[:, COLUMN[name]].reshape(per_sample)

    def mixture(prefix):
        return [column(f"{prefix}_{name}") for name in TERMS]

    live = column("live") != 0
    count = 1 if of.weights is None else of.weights.shape[2]
    parts = _parts(outputs[0], count) if len(outputs) == 1 else list(outputs)

    def mix(weights):
        if weights is None or not parts:
            return widened(parts[0]) if parts else None
        chosen = widened(weights[row, torch.arange(batch, device=row.device)])
        return _mix([chosen[:, g].reshape(per_sample) for g in range(count)], parts)

    o, u = mix(of.weights), mix(of.second_weights)

    def draw(given, number):
        if given is not None:
            return given
        first = number.reshape(batch).long() * -(-numel // 4)
        return normals(of.keys, numel, first).reshape(of.x.shape)

    x = of.x if of.x_in is None else of.x_in
    low, high = column("clip_lo"), column("clip_hi")
    m = _mix([column("p_x"), column("p_o")], [x, o]).expand(x.shape)
    reads_m = (column("c_m") != 0) | (column("d_m") != 0) | (column("e_m") != 0)
    shown = (column("p_x") != 0) | (column("p_o") != 0)
    reads_m = reads_m | (shown & (of.x0_out is not None))
    own = (column("dynamic") > 0) & reads_m
    divisor = torch.ones_like(high)
    if of.threshold is not None and own.any():
        bound = widened(_thresholds(m, column("dynamic"), high).to(of.x.dtype))  # as it is stored
        of.threshold.copy_(torch.where(own, bound, 0).reshape(batch))
        low, high = torch.where(own, -bound, low), torch.where(own, bound, high)
        divisor = torch.where(own, bound, divisor)
    m = torch.where(m < low, low, torch.where(m > high, high, m)) / divisor
    number = column("draw")
    z, z_prev = draw(of.z, number), draw(of.z_prev, number - 1)
    scaled = z * torch.exp(column("g_0") + _mix([column("g_1")], [of.gain]))
    slots = [] if of.history is None else list(of.history)
    slots += [None] * (HISTORY - len(slots))
    terms = [x, of.saved, m, o, u, *slots, scaled, z_prev]

    following = _mix(mixture("c"), terms)
    if of.known is not None and of.mask is not None:
        here = _mix([column("k_known"), column("k_z")], [of.known, z])
        mask = widened(of.mask)
        blended = _mix([mask, 1 - mask], [here.expand(x.shape), following])
        uses = (column("k_known") != 0) | (column("k_z") != 0)
        following = torch.where(uses, blended, following)
    anchor = _mix(mixture("d"), terms)
    memory = _mix([column(f"e_{name}") for name in ("x", "m", "o", "u")], [x, m, o, u])
    saves = torch.stack([c != 0 for c in mixture("d")]).any(dim=0) & live

    def store(buffer, value, where):
        buffer.copy_(torch.where(where, value, widened(buffer)))

    if of.x0_out is not None:
        store(of.x0_out, m, shown & live)
    if of.saved is not None:
        store(of.saved, anchor, saves)
    if of.history is not None:
        for k, slot in enumerate(of.history):
            store(slot, memory, (column("slot") == k) & live)
    following = widened(following.to(of.x.dtype))  # the next input is made of x' as it is stored
    store(of.x if of.x_out is None else of.x_out, following, live)
    scale = column("in_scale")
    fresh = live & (scale != 0)
    if of.model_input is not None:
        for part in _parts(of.model_input, count):
            store(part, scale * following, fresh)
    if of.t is not None:
        for part in _parts(of.t, count):
            store(part, column("t_next").reshape(batch), fresh.reshape(batch))
    row += live.reshape(batch).long()
