"""Nats, bits and dimensions."""

from __future__ import annotations

import math

from torch import Tensor

from ..arguments import number, tensor, whole


def bits_per_dim(nats: Tensor, dims: int, bin_width: float = 1.0) -> Tensor:
    """A negative log-likelihood in nats as bits per dimension.

    Args:
        nats: -log p, any shape.
        dims: number of dimensions, D.
        bin_width: width of a level in the units of x, if p is a density of dequantised data: the
            probability of a level is about p times width^D (Theis et al. 2016, sec. 3.1).
            Grey levels k of K at 2 k / (K - 1) - 1 have the width 2 / (K - 1).
    """
    tensor("nats", nats)
    whole("dims", dims, least=1)
    number("bin_width", bin_width, above=0)
    return nats / (dims * math.log(2)) - math.log2(bin_width)
