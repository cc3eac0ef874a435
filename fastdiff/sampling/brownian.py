"""Noise that does not depend on the number of steps: the increments of one Brownian path.

Each element of a sample follows a Brownian motion W(u) over the angle u = atan(sigma / alpha), in
units of a quarter turn; the draw of a row that goes from u to u' is (W(u) - W(u')) / sqrt(u - u').
Draws of one table are independent standard normals as any others; another table with the same seed
samples the same path more finely or more coarsely, so that more steps refine the same picture.

W is a virtual tree (Jelincic, Foster and Kidger 2024, "Single-seed generation of Brownian paths",
here on dyadic points alone, where halving is exact): W(1) and every midpoint have a Philox draw of
their own, so no state is kept and no order of access matters. Angles are rounded to j / 2^24; for
a table some of whose levels this does not tell apart (sigma / alpha of 10^4 and more), to finer
points of the same path.
"""

import math
from typing import cast

import numpy as np
import torch

from .. import ops
from ..noise import _bits
from .draws import Draws, index_of

DEPTH = 40
ROUNDINGS = (24, 32, DEPTH)


def angle(alpha, sigma, depth: int = DEPTH) -> np.ndarray:
    """atan(sigma / alpha) in [0, 1] quarter turns, rounded to 2^-depth, as int64 multiples of
    2^-DEPTH."""
    turns = np.arctan2(sigma, alpha) / (np.pi / 2)
    return np.rint(turns * 2**depth).astype(np.int64) << (DEPTH - depth)


def path_at(point: int, keys: torch.Tensor, shape, depth: int = DEPTH) -> torch.Tensor:
    """[B, *shape] W at ``point`` / 2^depth of each key's path, float64: at most depth + 1 draws."""
    blocks = -(-math.prod(shape) // 4)

    def normal(number):  # number 0 is the initial state's
        at = keys.clone()
        at[:, 1] += _bits(number * blocks % 2**64, "draw")
        return ops.normal(at, shape).double()

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
        ValueError: a draw of a table does not lead to less noise than the one before: annealed
            Langevin dynamics, going back (RePaint), churn above the level before.
    """

    def __init__(self, program, buffers, keys: torch.Tensor):
        self.source, self.keys = "brownian", keys
        self._allocate(buffers, bool(program.reads_previous_draw.any()))
        stretches = [_stretches(table) for table in program.tables]
        self.stretch = [stretches[k] for k in program.of_sample]

    def fill(self, samples, number) -> None:
        wanted: dict[tuple[int, int], list[int]] = {}
        for b, n in zip(samples, number, strict=True):
            wanted.setdefault(self.stretch[b][n - 1], []).append(b)
        for (start, end), chosen in wanted.items():
            which, shape = index_of(chosen, self.z), self.z.shape[1:]
            keys = self.keys[which]
            rise = path_at(start, keys, shape) - path_at(end, keys, shape)
            self.z[which] = (rise / math.sqrt((start - end) / 2**DEPTH)).to(self.z)

    def moved(self, buffers) -> "BrownianDraws":
        draws = cast(BrownianDraws, super().moved(buffers))
        draws.keys = buffers.keys
        return draws


def _stretches(table) -> list[tuple[int, int]]:
    """From which point to which the path runs for each draw of the table."""
    drawing = np.flatnonzero(table.draws)
    visited = np.append(0, drawing + 1)  # the levels between which it draws
    alpha, sigma = table.alpha[visited], table.sigma[visited]
    for depth in ROUNDINGS:
        points = angle(alpha, sigma, depth)
        falling = points[1:] < points[:-1]
        if falling.all():
            return list(zip(points[:-1].tolist(), points[1:].tolist(), strict=True))
    i = int(np.argmin(falling))
    down = sigma[i + 1] * alpha[i] < sigma[i] * alpha[i + 1]
    wanted = "levels further apart" if down else "draws that go down in noise"
    raise ValueError(
        f'noise: "brownian" needs {wanted}, got one at row {drawing[i]} from '
        f"alpha, sigma = {alpha[i]:.9g}, {sigma[i]:.9g} to {alpha[i + 1]:.9g}, {sigma[i + 1]:.9g}"
    )
