"""One row for every sample of a batch: guidance, solver update, noise, next model input."""

import torch
import triton
import triton.language as tl

from .launch import launch, tile_of
from .row import (
    advance,
    any_of,
    blend,
    clip,
    draw,
    either,
    gained,
    mixes,
    mixture,
    narrow,
    offsets,
    only,
    read,
    remember,
    remembered,
    state,
    x0_before_clip,
)
from .views import read_views

ADVANCE_TILE = 128
RING = 4  # slots of the history that a row can name


@triton.jit
def magnitude_kernel(
    magnitude, x, row, rows, outputs, weights, x_in, n_rows, weight_row_stride,
    weight_sample_stride, numel, sizes, strides, x_strides,
    G: tl.constexpr, DIMS: tl.constexpr, TILE: tl.constexpr, INDEX: tl.constexpr,
    COLUMN: tl.constexpr,
):  # fmt: skip
    """|m| before clipping, of the samples whose row has a dynamic threshold."""
    tiles = (numel - 1) // TILE + 1
    unit = tl.program_id(0)
    sample = (unit // tiles).to(tl.int64)
    index = tl.load(row + sample)
    if (index < 0) | (index >= n_rows):
        return
    here = rows + index * COLUMN.width
    if (tl.load(here + COLUMN.live) == 0) | (tl.load(here + COLUMN.dynamic) <= 0):
        return
    place = (unit % tiles).to(INDEX) * TILE + tl.arange(0, TILE)
    inside = place < numel
    at = sample * numel + place
    dtype: tl.constexpr = x.dtype.element_ty
    weight_at = index * weight_row_stride + sample * weight_sample_stride
    reads_o = tl.load(here + COLUMN.p_o) != 0
    o, _ = mixes(
        outputs, weights, None, weight_at, reads_o, tl.full([], 0, tl.int1),
        place, sample, inside, sizes, strides, G, DIMS, dtype,
    )  # fmt: skip
    from_x = offsets(place, sample, sizes, x_strides, DIMS)
    x_ = state(x, x_in, at, from_x, inside, dtype)
    tl.store(magnitude + at, tl.abs(x0_before_clip(here, x_, o, COLUMN)), inside)


@triton.jit(do_not_specialize=["n_rows", "weight_row_stride", "weight_sample_stride", "batch"])
def step_kernel(
    x, row, rows, weights, keys, saved, history, z, z_prev, model_input, t, second_weights, known,
    mask, threshold, x0_out, outputs, gain, x_in, x_out,
    n_rows, weight_row_stride, weight_sample_stride, batch, numel, sizes, strides, gain_strides,
    x_strides,
    G: tl.constexpr, DIMS: tl.constexpr, SLOTS: tl.constexpr, PRESENT: tl.constexpr,
    TILE: tl.constexpr, INDEX: tl.constexpr, ADVANCE: tl.constexpr, COLUMN: tl.constexpr,
):  # fmt: skip
    """The row of a sample on one tile of it. ``ADVANCE``: the tile is all of the sample."""
    tiles = (numel - 1) // TILE + 1
    unit = tl.program_id(0)
    sample = (unit // tiles).to(tl.int64)
    index = tl.load(row + sample)
    if (index < 0) | (index >= n_rows):
        return
    here = rows + index * COLUMN.width
    if tl.load(here + COLUMN.live) == 0:
        return
    tile = (unit % tiles).to(tl.int64)
    place = tile.to(INDEX) * TILE + tl.arange(0, TILE)
    inside = place < numel
    at = sample * numel + place
    total = batch.to(tl.int64) * numel
    dtype: tl.constexpr = x.dtype.element_ty

    reads_m = either(here, COLUMN.c_m, COLUMN.d_m) | (tl.load(here + COLUMN.e_m) != 0)
    if x0_out is not None:
        reads_m = reads_m | either(here, COLUMN.p_x, COLUMN.p_o)
    reads_x = either(here, COLUMN.c_x, COLUMN.d_x) | (tl.load(here + COLUMN.e_x) != 0)
    reads_x = reads_x | (reads_m & (tl.load(here + COLUMN.p_x) != 0))
    reads_o = either(here, COLUMN.c_o, COLUMN.d_o) | (tl.load(here + COLUMN.e_o) != 0)
    reads_o = reads_o | (reads_m & (tl.load(here + COLUMN.p_o) != 0))
    reads_u = either(here, COLUMN.c_u, COLUMN.d_u) | (tl.load(here + COLUMN.e_u) != 0)
    from_x = offsets(place, sample, sizes, x_strides, DIMS)
    x_ = state(x, x_in, at, from_x, only(inside, reads_x), dtype)
    s_ = read(saved, at, only(inside, either(here, COLUMN.c_s, COLUMN.d_s)), dtype)
    h0 = remembered(history, 0, at, total, inside, here, SLOTS, dtype, COLUMN)
    h1 = remembered(history, 1, at, total, inside, here, SLOTS, dtype, COLUMN)
    h2 = remembered(history, 2, at, total, inside, here, SLOTS, dtype, COLUMN)
    h3 = remembered(history, 3, at, total, inside, here, SLOTS, dtype, COLUMN)
    weight_at = index * weight_row_stride + sample * weight_sample_stride
    o, u = mixes(
        outputs, weights, second_weights, weight_at, reads_o, reads_u,
        place, sample, inside, sizes, strides, G, DIMS, dtype,
    )  # fmt: skip
    m = clip(x0_before_clip(here, x_, o, COLUMN), here, threshold, sample, COLUMN)

    reads_z = either(here, COLUMN.c_z, COLUMN.d_z)
    if known is not None:
        reads_z = reads_z | either(here, COLUMN.k_known, COLUMN.k_z)
    reads_zp = either(here, COLUMN.c_zp, COLUMN.d_zp)
    number = tl.load(here + COLUMN.draw).to(tl.int64)
    z_ = draw(z, number, reads_z, keys, sample, tile, numel, at, inside, TILE, dtype)
    zp = draw(z_prev, number - 1, reads_zp, keys, sample, tile, numel, at, inside, TILE, dtype)
    zg = gained(z_, here, gain, offsets(place, sample, sizes, gain_strides, DIMS), inside, COLUMN)

    operands = (x_, s_, m, o, u, h0, h1, h2, h3, zg, zp)
    following = mixture(here, COLUMN.c_x, operands, PRESENT)
    if known is not None:
        wanted = only(inside, either(here, COLUMN.k_known, COLUMN.k_z))
        known_ = read(known, at, wanted, dtype)
        mask_ = read(mask, at, wanted, dtype)
        following = blend(following, here, known_, mask_, z_, COLUMN)
    anchor = mixture(here, COLUMN.d_x, operands, PRESENT)
    memory = remember(here, x_, m, o, u, COLUMN)

    # The model's output may lie in memory that is written here, element for element, and the row
    # counter of the sample is read by every thread: all is read before anything is stored.
    tl.debug_barrier()
    tl.store(x_out + at, narrow(following, x_out.dtype.element_ty), mask=inside)
    if x0_out is not None:
        tl.store(x0_out + at, m, mask=only(inside, either(here, COLUMN.p_x, COLUMN.p_o)))
    if saved is not None:
        tl.store(saved + at, anchor, mask=only(inside, any_of(here, COLUMN.d_x)))
    if history is not None:
        slot = tl.load(here + COLUMN.slot).to(tl.int64)
        there = (slot >= 0) & (slot < SLOTS)
        tl.store(history + slot * total + at, memory, mask=only(inside, there))
    if model_input is not None:
        scale = tl.load(here + COLUMN.in_scale)
        y = narrow(scale * following, model_input.dtype.element_ty)
        for g in tl.static_range(G):
            tl.store(model_input + g * total + at, y, mask=only(inside, scale != 0))
    if ADVANCE:
        advance(index, row, here, t, True, sample, batch, G, COLUMN)


@triton.jit(do_not_specialize=["n_rows", "batch"])
def advance_kernel(
    row, rows, t, n_rows, batch, G: tl.constexpr, TILE: tl.constexpr, COLUMN: tl.constexpr
):
    """The end of a row, for samples of several tiles."""
    samples = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    index = tl.load(row + samples, mask=samples < batch, other=-1)
    valid = (index >= 0) & (index < n_rows)
    here = rows + index * COLUMN.width
    live = valid & (tl.load(here + COLUMN.live, mask=valid, other=0.0) != 0)
    advance(index, row, here, t, live, samples, batch, G, COLUMN)


class Step:
    """The operation with its buffers bound; a call takes what changes from row to row.

    Args:
        column: a named tuple, where each field of a row lies, and the ``width`` of a row.
        bound: all bound operands by name, as ``fastdiff.ops.step_`` describes and has checked them.
    """

    def __init__(self, column, **bound):
        self.bound, self.column = bound, column
        x, row, rows, weights = [bound[name] for name in ("x", "row", "rows", "weights")]
        self.x, self.row, self.rows, self.weights = x, row, rows, weights
        self.t, self.threshold, history = bound["t"], bound["threshold"], bound["history"]
        self.batch, self.numel = len(x), x.numel() // max(len(x), 1)
        self.count = 1 if weights is None else weights.shape[2]
        self.weight_strides = (0, 0) if weights is None else weights.stride()[:2]
        self.slots = 0 if history is None else len(history)
        tile = tile_of(self.batch, self.numel, x.element_size())
        self.tiles = triton.cdiv(self.numel, tile)
        wide = self.numel > 2**31 - 1 - tile
        self.layout = {"G": self.count, "TILE": tile, "INDEX": tl.int64 if wide else tl.int32}

    def __call__(self, outputs, gain=None, x_in=None, x_out=None) -> None:
        """Execute the row that each sample stands on.

        Args:
            outputs: G tensors [B, ...], one [G * B, ...], or none, in a list.
            gain, x_in, x_out: [B, ...] or None.
        """
        if self.batch == 0 or len(self.rows) == 0:
            return
        if self.numel:
            x_out = self.x if x_out is None else x_out
            written = (x_out, *(self.bound[name] for name in ("model_input", "saved", "x0_out")))
            written = [buffer for buffer in written if buffer is not None]
            views = read_views(self.x, outputs, self.count, gain, x_in, written)
            if self.threshold is not None:
                self._find_thresholds(x_in, views)
            self._execute(gain, x_in, x_out, views)
        if self.tiles != 1:
            launch(
                advance_kernel, triton.cdiv(self.batch, ADVANCE_TILE), self.x.device,
                self.row, self.rows, self.t, len(self.rows), self.batch,
                G=self.count, TILE=ADVANCE_TILE, COLUMN=self.column,
            )  # fmt: skip

    def _execute(self, gain, x_in, x_out, views):
        outputs, sizes, strides, gain_strides, x_strides = views
        out = outputs is not None
        ring = (k < self.slots for k in range(RING))
        saves = self.bound["saved"] is not None
        present = (True, saves, True, out, out, *ring, True, True)  # x s m o u h.. z zp
        launch(
            step_kernel, self.batch * self.tiles, self.x.device,
            *self.bound.values(), outputs, gain, x_in, x_out,
            len(self.rows), *self.weight_strides, self.batch, self.numel,
            sizes, strides, gain_strides, x_strides,
            DIMS=len(sizes), SLOTS=self.slots, PRESENT=present,
            ADVANCE=self.tiles == 1, COLUMN=self.column, **self.layout,
        )  # fmt: skip

    def _find_thresholds(self, x_in, views):
        """The q-quantile of |m| over each sample, interpolated as torch.quantile does, within
        1 and clip_hi. Nothing is asked of the device: samples without a bound compute one, too."""
        magnitude = torch.zeros_like(self.x)
        outputs, sizes, strides, _, x_strides = views
        launch(
            magnitude_kernel, self.batch * self.tiles, self.x.device,
            magnitude, self.x, self.row, self.rows, outputs, self.weights, x_in,
            len(self.rows), *self.weight_strides, self.numel, sizes, strides, x_strides,
            DIMS=len(sizes), COLUMN=self.column, **self.layout,
        )  # fmt: skip
        inside = self.row.clamp(0, len(self.rows) - 1)
        current = self.rows[inside]
        q, highest = current[:, self.column.dynamic].double(), current[:, self.column.clip_hi]
        place = q.clamp(0, 1) * (self.numel - 1)
        below = place.long()
        pair = torch.stack((below, (below + 1).clamp(max=self.numel - 1)), dim=1)
        ordered = magnitude.flatten(1).sort(dim=1).values
        low, high = ordered.gather(1, pair).double().unbind(dim=1)
        bound = (low + (high - low) * (place - below)).to(self.x.dtype)
        bound = torch.where(bound > 1, bound, 1.0)
        bound = torch.where(bound > highest, highest, bound)
        reading = [self.column.c_m, self.column.d_m, self.column.e_m]
        if self.bound["x0_out"] is not None:
            reading += [self.column.p_x, self.column.p_o]
        reads = current[:, reading].any(dim=1)
        own = (q > 0) & reads & (inside == self.row)
        self.threshold.copy_(torch.where(own, bound, self.threshold))
