"""Guidance for loops that are someone else's: two outputs in, the guided one out.

The rows of a table mix as they step; this is for pipelines that mix first and step later.
"""

import math

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..arguments import MOST, describe, layout, number
from ..ops import moments, step_
from ..ops.library import refuse_gradient
from ..ops.select import wide as wide_of
from ..tables.lin import O
from ..tables.rows import END, Row
from .cfg import CFG
from .sums import adjusted, gain, variances

HALF = (torch.bfloat16, torch.float16)
FEW = 16  # samples for which a loop on the host is quicker than operations
FLOATS = (*HALF, torch.float32, torch.float64)


def mix(uncond: Tensor, cond: Tensor, scale, *, rescale: float = 0.0, out: Tensor | None = None):
    """uncond + scale (cond - uncond): classifier-free guidance (Ho and Salimans, 2022).

    On the CPU ``rescale`` of a few hundred elements takes as long as the lines that it replaces, in
    half precision half as long again; all else takes less.

    One line in place of another, where ``noise`` is the model's output for both conditions::

        noise = uncond + scale * (cond - uncond)              # three operations
        noise = fastdiff.guidance.mix(*noise.chunk(2), scale)  # one

    The outputs are read where they are, as views of one tensor or of any strides. Nothing waits for
    the device. The arithmetic of half-precision outputs is float32, rounded once.

    Args:
        uncond, cond: [B, ...] the unconditional and conditional outputs, of one dtype (bfloat16,
            float16, float32 or float64) and shape.
        scale: a number, or a tensor [], [B] or [B, 1, ...] with one for each sample. 0 is
            ``uncond``, 1 is ``cond``. Or a guidance in place of the formula, such as
            ``APG(5.0, norm=15.0)``: one without an interval, zero steps or momentum, as a single
            mix knows nothing of the others.
        rescale: phi in [0, 1], ``guidance_rescale`` of diffusers: how far to bring the standard
            deviation of each sample back to that of ``cond`` (Lin et al. 2023, "Common diffusion
            noise schedules and sample steps are flawed", eqs. 15 and 16).
        out: where to put the result, shaped like the outputs and of their dtype; it may be one of
            them.

    Returns:
        [B, ...] in the dtype of the outputs. Gradients flow, unless ``rescale`` or a guidance
        whose weights depend on the outputs is used.

    Raises:
        TypeError, ValueError: an argument is not as described.
        RuntimeError: a gradient would be lost, to ``rescale``, such a guidance or ``out``.
    """
    _check_like("uncond", uncond, uncond)
    _check_like("cond", cond, uncond)
    if out is not None:
        _check_like("out", out, uncond)
    if isinstance(rescale, Tensor):  # whose value would have to be waited for
        raise TypeError(f"rescale: expected a number in [0, 1], got {describe(rescale)}")
    if type(rescale) is not float or not 0 <= rescale <= 1:
        rescale = number("rescale", rescale, least=0, most=1)
    if isinstance(scale, CFG):
        return _guided(uncond, cond, scale, rescale, out)
    scale = _of_samples(scale, uncond)
    on_host = type(uncond) is Tensor and uncond.is_cpu and not is_compiling()
    if on_host and rescale and uncond.numel():
        return _rescaled(uncond, cond, scale, rescale, out)
    if rescale or (isinstance(scale, Tensor) and uncond.dtype in HALF):
        return _weighted(uncond, cond, scale, rescale, out)
    if isinstance(scale, Tensor):
        scale = scale.to(uncond.dtype)
    # One pass of torch's own, less work than a row that does nothing else; it cannot take a scale
    # of another precision than the outputs, nor weights that do not add up to one.
    return torch.lerp(uncond, cond, scale, out=out)


def _guided(uncond, cond, guidance, rescale, out):
    """The mix of a guidance."""
    if rescale:
        raise ValueError(f"rescale: expected 0 beside a guidance, got {rescale!r}")
    if guidance.needs_loop:
        raise ValueError(
            "scale: expected a guidance without an interval, zero steps or momentum, "
            f"got {guidance!r}"
        )
    scale = guidance.scale
    if not isinstance(scale, (Tensor, int, float)):
        scale = torch.tensor(scale, dtype=torch.float64)
    if not guidance.data_dependent:
        return mix(uncond, cond, scale, out=out)
    refuse_gradient(uncond=uncond, cond=cond)
    count = math.prod(uncond.shape[1:])
    weights = _pairs(_of_samples(scale, uncond), uncond)
    weights = adjusted(guidance, weights, moments(uncond, cond), count)
    return _by_weights(uncond, cond, weights, out)


def _pairs(scale, uncond) -> Tensor:
    """[B, 2] on the outputs' device, in float64 as far as it has that."""
    dtype, batch = wide_of(uncond.device), len(uncond)
    if isinstance(scale, Tensor):
        return torch.stack(pair(scale.to(dtype).flatten().expand(batch)), dim=1)
    return torch.stack(
        [torch.full((batch,), w, dtype=dtype, device=uncond.device) for w in pair(scale)], 1
    )


def _by_weights(uncond, cond, weights, out):
    """w_u uncond + w_c cond of each sample, weights [B, 2], rounded once."""
    batch, device = len(uncond), uncond.device
    wide = torch.float64 if uncond.dtype == torch.float64 else torch.float32
    if uncond.is_cpu:
        w_u, w_c = weights.to(wide).reshape(batch, 2, *(1,) * (uncond.dim() - 1)).unbind(1)
        mixed = uncond.to(wide) * w_u
        mixed.addcmul_(cond.to(wide), w_c)
    else:
        mixed = torch.empty(uncond.shape, dtype=wide, device=device)
        step_(
            mixed,
            torch.zeros(batch, dtype=torch.int64, device=device),
            _rows(wide, device),
            [uncond, cond],
            keys=torch.zeros(batch, 2, dtype=torch.int64, device=device),
            weights=weights.to(wide).expand(2, batch, 2),
        )
    return mixed.to(uncond.dtype) if out is None else out.copy_(mixed)


def _rescaled(uncond, cond, scale, rescale, out):
    """Mixed first and rescaled then, with gains that are computed on the host: for small outputs
    operations on numbers of [B] would take longer than those on the outputs."""
    refuse_gradient(uncond=uncond, cond=cond, scale=scale)
    wide = torch.float64 if uncond.dtype == torch.float64 else torch.float32
    batch, sums, count = len(uncond), moments(uncond, cond), math.prod(uncond.shape[1:])
    each = isinstance(scale, Tensor)
    if batch <= FEW:
        scales = scale.double().flatten().expand(batch).tolist() if each else [scale] * batch
        rows = zip(sums.tolist(), scales, strict=True)
        gains = torch.tensor(
            [_gain_of(row, pair(s), count, rescale) for row, s in rows], dtype=wide
        )
    else:
        gains = gain(sums, _pairs(scale, uncond), count, rescale).to(wide)
    scale = scale.to(wide) if each else scale
    target = out if uncond.dtype == wide else None
    mixed = torch.lerp(uncond.to(wide), cond.to(wide), scale, out=target)
    mixed.mul_(gains.view(-1, *(1,) * (uncond.dim() - 1)))
    if out is not None:
        return mixed if target is out else out.copy_(mixed)
    return mixed.to(uncond.dtype)


def _weighted(uncond, cond, scale, rescale, out):
    """The mix by weights [B, 2], as a row does it."""
    wide = torch.float64 if uncond.dtype == torch.float64 else torch.float32
    if rescale:
        refuse_gradient(uncond=uncond, cond=cond, scale=scale)
    elif uncond.is_cpu or _is_recorded(uncond, cond, scale):
        if out is not None:
            refuse_gradient(uncond=uncond, cond=cond, scale=scale)
        mixed = torch.lerp(uncond.to(wide), cond.to(wide), scale.to(wide))
        return mixed.to(uncond.dtype) if out is None else out.copy_(mixed)
    weights = _pairs(scale, uncond)
    if rescale:
        count = math.prod(uncond.shape[1:])
        weights = weights * gain(moments(uncond, cond), weights, count, rescale)[:, None]
    return _by_weights(uncond, cond, weights, out)


def _is_recorded(*tensors) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def pair(scale):
    """The weights of the unconditional and the conditional output."""
    return 1.0 - scale, scale


def _gain_of(sums, weights, count: int, rescale: float) -> float:
    """``gain`` of one sample, in Python's numbers: the same one."""
    var_c, var_mix = variances(sums, weights, count)
    var_c, var_mix = (0.0 if v < 0 else v for v in (var_c, var_mix))
    if var_mix == 0:
        ratio = math.inf if var_c > 0 else math.nan
    else:
        ratio = math.sqrt(var_c / var_mix)
    return rescale * ratio + 1 - rescale


def _rows(dtype, device) -> Tensor:
    """The rows of a table with a single step, x' = o."""
    if (dtype, device) not in _made:
        rows = torch.tensor([Row(O).pack(), END.pack()], dtype=dtype)
        rows = rows.to(device, non_blocking=True)
        if type(rows) is not Tensor:  # a fake one
            return rows
        _made[dtype, device] = rows
    return _made[dtype, device]


_made: dict = {}


def _of_samples(scale, uncond):
    """A finite float, or a tensor [] or [B, 1, ...] on the outputs' device."""
    if not isinstance(scale, Tensor):
        usual = type(scale) is float and -MOST <= scale <= MOST
        return scale if usual else float(number("scale", scale, least=-MOST, most=MOST))
    ones = (1,) * (uncond.dim() - 1)
    if scale.shape not in ((), uncond.shape[:1], (len(uncond), *ones)):
        raise ValueError(
            f"scale: expected a number or a tensor [] or [{len(uncond)}] (one per sample), "
            f"got {list(scale.shape)}"
        )
    if scale.dtype == torch.float64:  # which the device need not have
        scale = scale.to(wide_of(uncond.device))
    scale = scale.to(uncond.device, non_blocking=True)
    return scale.reshape(-1, *ones) if scale.dim() else scale


def _check_like(name, tensor, uncond):
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {describe(tensor)}")
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise ValueError(f"{name}: expected a dense tensor, got {layout(tensor)}")
    if tensor.dtype not in FLOATS or tensor.dim() < 1:
        raise ValueError(
            f"{name}: expected [B, ...] of bfloat16, float16, float32 or float64, "
            f"got {describe(tensor)}"
        )
    if (tensor.shape, tensor.dtype, tensor.device) != (uncond.shape, uncond.dtype, uncond.device):
        raise ValueError(
            f"{name}: expected {uncond.dtype} {list(uncond.shape)} on {uncond.device} like uncond, "
            f"got {tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        )
