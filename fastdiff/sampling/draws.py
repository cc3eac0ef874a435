"""Noise from elsewhere: torch's generators, given tensors, callables.

The default, Philox, is drawn inside the kernel and needs none of this.
"""

import copy
from collections.abc import Sequence

import torch

from .. import ops


def index_of(samples: Sequence[int], like: torch.Tensor):
    """What picks these samples out of a batch, brought to its device without a wait."""
    if len(samples) == len(like):
        return slice(None)
    return torch.tensor(samples, device="cpu").to(like.device, non_blocking=True)


class Draws:
    """Fills z with the next draw before a row is executed.

    Args:
        source: "torch" (the device's default generator), a torch.Generator, one generator per
            sample, a tensor [draws, *x.shape], or a callable (draw number from 1, shape) -> tensor.
        buffers: of the state whose noise this is; they get what the draws fill.
        available: how many draws the longest table makes.
    """

    def __init__(self, source, buffers, available: int, keeps_previous: bool):
        self.source, x = source, buffers.x
        self._allocate(buffers, keeps_previous)
        if isinstance(source, torch.Tensor):
            _require_real(source)
            ops.library.require_memory(noise=source)
            ops.library.refuse_gradient(noise=source)
            if source.shape[1:] != x.shape or len(source) < available:
                raise ValueError(
                    f"noise: expected [{available} or more, {', '.join(map(str, x.shape))}], "
                    f"got {list(source.shape)}"
                )
        elif self._per_sample:
            if len(source) != len(x) or not all(isinstance(g, torch.Generator) for g in source):
                raise ValueError(f"noise: expected {len(x)} torch.Generators, got {source!r}")
        elif not (
            (isinstance(source, str) and source == "torch")
            or isinstance(source, torch.Generator)
            or callable(source)
        ):
            raise ValueError(
                'noise: expected "philox", "brownian", "torch", a torch.Generator or one per '
                f"sample, a tensor or a callable, got {source!r}"
            )

    def _allocate(self, buffers, keeps_previous):
        self.z = buffers.z = torch.zeros_like(buffers.x)
        self.z_prev = buffers.z_prev = torch.zeros_like(buffers.x) if keeps_previous else None

    @property
    def _per_sample(self) -> bool:
        return isinstance(self.source, Sequence) and not isinstance(self.source, str)

    def keep_previous(self, samples: Sequence[int]) -> None:
        """Hold the latest draw of these samples as the one before."""
        if self.z_prev is not None:
            which = index_of(samples, self.z)
            self.z_prev[which] = self.z[which]

    def moved(self, buffers) -> "Draws":
        """The same draws into the buffers of another state."""
        draws = copy.copy(self)
        draws.z, draws.z_prev = buffers.z, buffers.z_prev
        return draws

    def fill(self, samples: Sequence[int], number: Sequence[int]) -> None:
        """Draw for the samples whose row draws; ``number`` is the draw of each of them."""
        z, source = self.z, self.source
        if isinstance(source, torch.Tensor):
            for b, n in zip(samples, number, strict=True):
                z[b].copy_(source[n - 1, b])
        elif self._per_sample:
            for b in samples:
                ops.randn_(z[b : b + 1], source[b])
        elif callable(source):
            for n in sorted(set(number)):
                given = source(n, z.shape)
                if not isinstance(given, torch.Tensor) or given.shape != z.shape:
                    got = list(given.shape) if isinstance(given, torch.Tensor) else given
                    raise ValueError(f"noise: expected a tensor {list(z.shape)}, got {got!r}")
                _require_real(given)
                ops.library.refuse_gradient(noise=given)
                self._take([b for b, m in zip(samples, number, strict=True) if m == n], given)
        else:
            generator = source if isinstance(source, torch.Generator) else None
            # for all, as a loop over the batch would
            whole = z if len(samples) == len(z) else torch.empty_like(z)
            self._take(samples, ops.randn_(whole, generator))

    def _take(self, samples, given):
        """z = given for these samples."""
        if given is not self.z:
            which = index_of(samples, self.z)
            self.z[which] = given.to(self.z)[which]


def _require_real(noise):
    if noise.is_complex():
        raise ValueError(f"noise: expected real numbers, got {noise.dtype}")
