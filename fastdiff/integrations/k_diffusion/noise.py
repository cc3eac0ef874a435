"""Noise as k-diffusion draws it: a function of (sigma, sigma_next), unit variance."""

import importlib
import importlib.util
import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from ... import noise, ops
from ...arguments import function, number, tensor, whole
from ...sampling.brownian import path_at

DEPTH = 32  # sigmas are told apart to 2^-32 of the largest


def independent(x: Tensor, seed: int | None = None):
    """Independent draws, in the dtype of x, of torch's default generator, or of one of its own.

    On the CPU that one has the seed + 1, as interfaces on top of k-diffusion have it: they draw x
    itself there from the seed.
    """
    tensor("x", x, floating=False)
    ops.library.require_memory(x=x)
    return Independent(x, None if seed is None else _whole(seed))


class Independent:
    def __init__(self, x: Tensor, seed: int | None):
        self.x, self.generator = x, None
        if seed is not None:
            self.generator = torch.Generator(x.device).manual_seed((seed + x.is_cpu) % 2**64)

    def __call__(self, sigma, sigma_next) -> Tensor:
        if self.generator is None:
            return torch.randn_like(self.x)
        wide = torch.promote_types(self.x.dtype, torch.float32)
        out = torch.empty(self.x.shape, dtype=wide, device=self.x.device)
        return ops.randn_(out, self.generator, self.x.dtype)

    def skip(self) -> None:
        """Leave the generator where a draw would leave it."""
        if self.generator is None:
            ops.skip_like(self.x)
        else:
            self(0, 0)


def brownian(x: Tensor, sigma_min: float, sigma_max: float, seed=None):
    """Increments of a Brownian motion in sigma, over sqrt(sigma - sigma_next); its path is
    torchsde's if that is installed.

    Args:
        seed: of the path, which is on the CPU, as interfaces on top of k-diffusion have it; a list
            has one for each sample. None: the next number of torch's default generator, and the
            path is on the device of x.
    """
    if isinstance(seed, (list, tuple)):
        seeds = [_whole(s) for s in seed]
        return BrownianTreeNoiseSampler(x, sigma_min, sigma_max, seeds)
    device = x.device if seed is None else "cpu"
    seed = int(torch.randint(2**63 - 1, ())) if seed is None else _whole(seed)
    if importlib.util.find_spec("torchsde"):
        return TreeNoise(x, sigma_min, sigma_max, seed, device)
    return PathNoise(x, sigma_max, seed)


def _whole(seed) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        got = type(seed).__name__
        raise TypeError(f'extra_args["seed"]: expected an integer, got {got}') from None


class TreeNoise:
    """The increments of a ``torchsde.BrownianTree``: the numbers of k-diffusion."""

    def __init__(self, x: Tensor, sigma_min: float, sigma_max: float, seed: int, device=None):
        self.x, self.ends, self.seed = x, (sigma_min, sigma_max), seed
        self.tree: Callable[[float, float], Tensor] | None = None
        self.device = x.device if device is None else device

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        if self.tree is None:  # there is none of one sigma, from which no noise is asked for
            low, high = self.ends
            start = torch.zeros_like(self.x, device=self.device)
            make = importlib.import_module("torchsde").BrownianTree
            self.tree = tree = make(low, start, high, entropy=self.seed)
        else:
            tree = self.tree
        moved = tree(sigma_next, sigma).to(self.x.device)
        return -moved / math.sqrt(sigma - sigma_next)


class BrownianTreeNoiseSampler:
    """k-diffusion's sampler of that name: increments of Brownian motion between two levels, over
    the square root of the distance.

    Args:
        x: [B, ...] samples like it.
        sigma_min, sigma_max: the levels between which the path is.
        seed: of the path; a list has one for each sample. None: of torch's default generator.
        transform: from levels to times of the path.
    """

    def __init__(self, x, sigma_min, sigma_max, seed=None, transform=lambda x: x):
        tensor("x", x, dims=1)
        self.transform = function("transform", transform)
        levels = {"sigma_min": sigma_min, "sigma_max": sigma_max}
        ends = sorted(self._time(name, level) for name, level in levels.items())
        if seed is None:
            seed = int(torch.randint(2**63 - 1, ()))
        self.batched = isinstance(seed, (list, tuple))
        for one in seed if self.batched else [seed]:
            whole("seed", one)
        if self.batched and len(seed) != len(x):
            raise ValueError(f"seed: expected a number or {len(x)}, got {len(seed)} of them")
        pairs = zip(x, seed, strict=True) if self.batched else [(x, seed)]
        kind = TreeNoise if importlib.util.find_spec("torchsde") else _path
        self.paths = [kind(part, ends[0], ends[1], its) for part, its in pairs]

    def __call__(self, sigma, sigma_next):
        times = [self._time("sigma", sigma), self._time("sigma_next", sigma_next)]
        high, low = max(times), min(times)
        if high == low:
            raise ValueError(f"sigma_next: expected another level than sigma, got {sigma_next}")
        # upwards the increment is that of the path, downwards its negative
        sign = 1.0 if times[0] > times[1] else -1.0
        drawn = [sign * path(high, low) for path in self.paths]
        return torch.stack(drawn) if self.batched else drawn[0]

    def _time(self, name, level) -> float:
        """Of the path, at a level."""
        time = self.transform(torch.as_tensor(number(name, level, least=0)))
        return number(f"transform({name})", time)


def _path(x, low, high, seed):
    return PathNoise(x, high, seed)


class PathNoise:
    """The increments of fastdiff's own path (``sampling.brownian``). Sample b has the path of seed
    + b, whatever the number of steps, the batch and the device."""

    def __init__(self, x: Tensor, sigma_max: float, seed: int):
        self.x, self.unit = x, sigma_max / 2**DEPTH
        self.keys = noise.keys(seed, len(x), device=x.device)
        self.known: dict[int, Tensor] = {}

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        start, end = (round(level / self.unit) for level in (sigma, sigma_next))
        self.known = {point: self._at(point) for point in (start, end)}
        length = (start - end) / 2**DEPTH
        return ((self.known[start] - self.known[end]) / math.sqrt(length)).to(self.x.dtype)

    def _at(self, point):
        if point in self.known:
            return self.known[point]
        return path_at(point, self.keys, self.x.shape[1:], DEPTH)
