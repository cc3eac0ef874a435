"""Noise that does not depend on the number of steps: the increments of one Brownian path.

Each element of a sample follows a Brownian motion W(u) over the angle u = atan(sigma / alpha), in
units of a quarter turn; the draw of a row that goes from u to u' is (W(u) - W(u')) / sqrt(u - u').
Draws of one table are independent standard normals as any others; another table with the same seed
samples the same path more finely or more coarsely, so that more steps refine the same picture.

W is a virtual tree (Jelincic, Foster and Kidger 2024, "Single-seed generation of Brownian paths",
here on the dyadic points j / 2^24 alone, where halving is exact): W(1) and every midpoint have a
Philox draw of their own, so no state is kept and no order of access matters.
"""

import math

import numpy as np
import torch

from .. import ops
from ..row import COLUMN
from .draws import Draws

DEPTH = 24


def angle(alpha, sigma) -> np.ndarray:
    """atan(sigma / alpha) in [0, 1] quarter turns, as int64 multiples of 2^-24."""
    return np.rint(np.arctan2(sigma, alpha) / (np.pi / 2) * 2**DEPTH).astype(np.int64)


def path_at(point: int, keys: torch.Tensor, shape, depth: int = DEPTH) -> torch.Tensor:
    """[B, *shape] W at ``point`` / 2^depth of each key's path, float64: at most depth + 1 draws."""
    blocks = -(-math.prod(shape) // 4)

    def normal(number):  # number 0 is the initial state's
        at = torch.tensor([0, number * blocks], device=keys.device)
        return ops.normal(keys + at, shape).double()

    low, high = 0, 2**depth
    left, right = torch.zeros((), dtype=torch.float64, device=keys.device), normal(1)
    node = 1  # of the tree of midpoints, numbered as in a heap
    while low < point < high:
        middle = (low + high) // 2
        width = (high - low) / 2**depth
        value = (left + right) / 2 + math.sqrt(width) / 2 * normal(1 + node)
        if point < middle:
            high, right, node = middle, value, 2 * node
        else:
            low, left, node = middle, value, 2 * node + 1
    return left.expand(len(keys), *shape) if point == low else right


class BrownianDraws(Draws):
    """Draws from the paths of the samples' keys. See ``Draws`` for the interface.

    Raises:
        ValueError: a table draws twice over the same stretch, or walks towards noise (churn).
    """

    def __init__(self, program, x: torch.Tensor, keys: torch.Tensor):
        self.source, self.keys = "brownian", keys
        self.z = torch.zeros_like(x)
        self.z_prev = torch.zeros_like(x) if program.reads_previous_draw.any() else None
        stretches = [_stretches(table) for table in program.tables]
        self.stretch = [stretches[k] for k in program.of_sample]

    def fill(self, samples, number) -> None:
        wanted: dict[tuple[int, int], list[int]] = {}
        for b, n in zip(samples, number, strict=True):
            wanted.setdefault(self.stretch[b][n - 1], []).append(b)
        for (start, end), chosen in wanted.items():
            keys, shape = self.keys[chosen], self.z.shape[1:]
            rise = path_at(start, keys, shape) - path_at(end, keys, shape)
            self.z[chosen] = (rise / math.sqrt((start - end) / 2**DEPTH)).to(self.z)


def _stretches(table) -> list[tuple[int, int]]:
    """From which point to which the path runs for each draw of the table."""
    at = angle(table.alpha, table.sigma)
    rows = table.rows
    drawing = np.flatnonzero((rows[:, [COLUMN[n] for n in ("c_z", "d_z", "k_z")]] != 0).any(axis=1))
    ends = [int(at[k + 1]) for k in drawing]
    starts = [int(at[0]), *ends][: len(ends)]
    for k, start, end in zip(drawing, starts, ends, strict=True):
        if not start > end or at[k] < end:
            raise ValueError(
                'noise: "brownian" needs a table whose draws go down in noise, '
                f"got one that goes from {min(start, int(at[k])) / 2**DEPTH:g} to "
                f"{end / 2**DEPTH:g} quarter turns at row {k}"
            )
    return list(zip(starts, ends, strict=True))
