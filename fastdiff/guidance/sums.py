"""What the five sums of two outputs say of their mixes.

Arrays and tensors alike; ``sums`` are those of ``fastdiff.ops.moments``, float64.
"""

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..schedules.base import namespace


def adjusted(guidance, weights: Tensor, sums: Tensor, count: int) -> Tensor:
    """``guidance.adjust_weights`` where the sums are: on the CPU by numpy, which takes less
    time for a few numbers and which torch.compile cannot see into."""
    if sums.device.type != "cpu" or is_compiling():
        return guidance.adjust_weights(weights, sums, count)
    with np.errstate(all="ignore"):  # as tensors: inf and NaN are numbers
        return torch.from_numpy(guidance.adjust_weights(weights.numpy(), sums.numpy(), count))


def variances(sums, weights, count: int):
    """Of c and of w_u u + w_c c, ``count`` times, for sums (u, c, uu, uc, cc) and weights (w_u,
    w_c): each a number, or one of each sample."""
    u, c, uu, uc, cc = sums
    w_u, w_c = weights
    var_u, cov, var_c = uu - u * u / count, uc - u * c / count, cc - c * c / count
    return var_c, w_u * w_u * var_u + 2 * w_u * w_c * cov + w_c * w_c * var_c


def gain(sums, weights, count: int, rescale: float):
    """[B] phi std(c) / std(mix) + 1 - phi, of sums [B, 5] of (u, c) and weights [B, 2]."""
    xp, _ = namespace(sums)
    var_c, var_mix = variances(sums.T, weights.T, count)
    ratio = xp.sqrt(var_c.clip(min=0) / var_mix.clip(min=0))
    return rescale * ratio + 1 - rescale
