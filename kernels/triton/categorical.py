"""Rows of logits: csrc/core/categorical.h, some rows to a program."""

import torch
import triton
import triton.language as tl

from . import formula
from .launch import launch
from .math import divide, exp, log
from .passes import run

ELEMENTS = 1024  # of a program, or one row


@triton.jit
def categorical_kernel(
    logits, level, gradient, log_prob, out, rows, numel, classes, sample_stride,
    DTYPE: tl.constexpr, ROWS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """log_prob [rows], or out like logits [rows, classes]: the gradient."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, CLASSES)[None, :]
    inside = (row < rows)[:, None] & (k < classes)
    sample = row // numel
    at = (sample * sample_stride + row % numel * classes)[:, None] + k
    values = tl.load(logits + at, mask=inside, other=-float("inf")).to(DTYPE)
    most = tl.max(values, axis=1)
    term = tl.where(inside, exp(values - most[:, None]), 0.0)
    total = tl.sum(term, axis=1)
    wanted = tl.load(level + row, mask=row < rows, other=0)
    valid = (wanted >= 0) & (wanted < classes)
    chosen = k == wanted[:, None]
    if log_prob is not None:
        logit = tl.sum(tl.where(chosen, values, 0.0), axis=1)
        value = (logit - most) - (log(total) + (total - total))
        tl.store(log_prob + row, tl.where(valid, value, float("nan")), mask=row < rows)
    else:
        g = tl.load(gradient + sample, mask=row < rows, other=0.0).to(DTYPE)[:, None]
        inverse = divide(tl.full(total.shape, 1.0, DTYPE), total)[:, None]
        value = g * (tl.where(chosen, 1.0, 0.0) - term * inverse)
        value = tl.where(valid[:, None], value, float("nan"))
        place = row[:, None] * classes + k
        tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def over_rows(level, logits, gradient, log_prob, out):
    rows, classes = level.numel(), logits.shape[-1]
    if rows == 0:
        return
    if not logits[0].is_contiguous():
        logits = logits.contiguous()
    width = triton.next_power_of_2(classes)
    height = max(1, ELEMENTS // width)
    launch(
        categorical_kernel, triton.cdiv(rows, height), logits.device, logits, level.contiguous(),
        gradient, log_prob, out, rows, rows // len(level), classes, logits.stride(0),
        DTYPE=tl.float64 if logits.dtype == torch.float64 else tl.float32, ROWS=height,
        CLASSES=width,
    )  # fmt: skip


def categorical(level, logits):
    if logits.shape[-1] < 1:
        raise ValueError(f"logits: expected at least one class, got {list(logits.shape)}")
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    log_prob = torch.empty(level.shape, dtype=dtype, device=level.device)
    over_rows(level, logits, None, log_prob, None)
    return run(formula.total, log_prob, [log_prob], factor=1.0, sums=1)


def categorical_grad(gradient, level, logits, wanted):
    if not wanted[1]:
        return []
    out = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
    over_rows(level, logits, gradient.contiguous(), None, out)
    return [out]
