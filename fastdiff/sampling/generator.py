"""torch's own noise, drawn inside the kernel: the numbers of torch.randn from CUDA generators.

torch fills a tensor with one Philox subsequence per thread of its launch, so that its numbers
depend on the device and on its version. The mapping is probed once per process and device, and not
used where the probe fails: torch then draws the noise itself, as for any other source.
"""

import copy
import functools
import warnings
from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch

from .. import ops
from ..tables.lin import Z
from ..tables.rows import END, Row

LARGEST = 2**29  # float32 numbers in 2 GiB: torch fills larger tensors in several launches


class GeneratorStream:
    """The keys that make a kernel draw what the generators would, and their bookkeeping.

    A key holds where the first draw of its sample's table would begin. It is followed by the draws
    of the table alone, unless something else, such as the model, draws from the generator in
    between: ``follow`` then writes the key anew.

    Attributes:
        launch: (threads, shared) for ``fastdiff.ops.bind``.
    """

    def __init__(self, generators, shared, program, buffers):
        self.generators, self.program, self.keys = generators, program, buffers.keys
        numel = _of_a_draw(buffers.x, shared)
        threads = ops.native.torch_threads(buffers.x.device.index or 0, numel)
        self.launch = (threads, shared)
        self.blocks = (numel - 1) // (4 * threads) + 1  # by which a draw moves a generator
        seeds, offsets = self._standing()
        keys = torch.tensor(np.stack((seeds, offsets), axis=1), device=self.keys.device)
        self.keys.copy_(keys.expand(self.keys.shape))
        batch = len(self.keys)
        self._seeds, self._offsets = (np.broadcast_to(v, batch).copy() for v in (seeds, offsets))

    def _standing(self):
        """([generators] seeds, offsets in blocks of four words) as int64."""
        seeds = np.array([g.initial_seed() % 2**64 for g in self.generators], dtype=np.uint64)
        return seeds.view(np.int64), np.array([g.get_offset() // 4 for g in self.generators])

    @classmethod
    def of(cls, source, program, buffers) -> "GeneratorStream | None":
        """The stream of "torch", a CUDA generator, or one for each sample; None where the kernel
        cannot draw it."""
        x = buffers.x
        generators, shared = _generators(source, x)
        usable = (
            generators
            and x.dtype == torch.float32
            and 0 < _of_a_draw(x, shared) <= LARGEST
            and ops.backend_of(x.device) == "cuda"
            and all(g.device == x.device for g in generators)
            and (not shared or len(program.tables) == 1)
        )
        if not usable:
            return None
        if reason := probe(x.device):
            warnings.warn(f"noise: torch draws it outside the kernel: {reason}", stacklevel=4)
            return None
        return cls(generators, shared, program, buffers)

    def follow(self, row_index) -> None:
        """Before a row: let its noise begin where the generators stand.

        Raises:
            RuntimeError: a row reads the noise of the draw before, and something else drew since.
        """
        samples = np.flatnonzero(self.program.draws[row_index])
        if not len(samples):
            return
        which = np.zeros_like(samples) if self.launch[1] else samples
        seeds, offsets = (standing[which] for standing in self._standing())
        offsets -= (self.program.draw_numbers[row_index[samples]] - 1) * self.blocks
        moved = (seeds != self._seeds[samples]) | (offsets != self._offsets[samples])
        if not moved.any():
            return
        samples, seeds, offsets = samples[moved], seeds[moved], offsets[moved]
        if (self.program.reads_previous_draw[row_index[samples]]).any():
            raise RuntimeError(
                "noise: expected a generator that nothing else draws from, as this table reads the "
                "noise of the draw before, got one that was moved"
            )
        self._seeds[samples], self._offsets[samples] = seeds, offsets
        alike = (seeds == seeds[0]).all() and (offsets == offsets[0]).all()
        written: list = samples.tolist()
        if alike and len(samples) == len(self.keys):
            written, seeds, offsets = [slice(None)], seeds[:1], offsets[:1]
        for b, seed, offset in zip(written, seeds.tolist(), offsets.tolist(), strict=True):
            self.keys[b, 0], self.keys[b, 1] = seed, offset  # fills, which do not wait

    def advance(self, row_index) -> None:
        """Move the generators on, as torch.randn would have; ``row_index`` is of each one."""
        draws = self.program.draws[row_index]
        chosen = [draws.any()] if self.launch[1] else draws
        for generator, drew in zip(self.generators, chosen, strict=True):
            if drew:
                generator.set_offset(generator.get_offset() + 4 * self.blocks)

    def moved(self, buffers) -> "GeneratorStream":
        """The same draws, for a state that has taken over these keys in its own buffers."""
        stream = copy.copy(self)
        stream.keys = buffers.keys
        return stream

    @contextmanager
    def kept(self):
        """Puts the generators back afterwards.

        Raises:
            RuntimeError: they were drawn from. A captured step would draw its noise before.
        """
        before = [g.get_offset() for g in self.generators]
        try:
            yield
        finally:
            after = [g.get_offset() for g in self.generators]
            for generator, offset in zip(self.generators, before, strict=True):
                generator.set_offset(offset)
        if after != before:
            raise RuntimeError("the model draws from the generator that its noise comes from")


def _of_a_draw(x, shared) -> int:
    """How many numbers one draw fills."""
    return x.numel() if shared else x[:1].numel()


def _generators(source, x):
    """(generators, whether one serves the whole batch)."""
    if isinstance(source, str) and source == "torch" and x.device.type == "cuda":
        return [torch.cuda.default_generators[x.device.index or 0]], True
    if isinstance(source, torch.Generator):
        return [source], True
    if (
        isinstance(source, Sequence)
        and not isinstance(source, str)
        and len(source) == len(x)
        and all(isinstance(g, torch.Generator) for g in source)
    ):
        return list(source), False
    return [], False


@functools.cache
def probe(device: torch.device) -> str:
    """Why the kernel cannot draw the numbers of this torch on this device; "" if it can."""
    rows = torch.tensor([Row(Z, draw=1.0).pack(), END.pack()], device=device)
    wave = ops.native.torch_threads(device.index or 0, 2**40)
    for numel in (64, wave, 5 * wave + 3):
        generator = torch.Generator(device).manual_seed(20111115)
        generator.set_offset(8)
        threads = ops.native.torch_threads(device.index or 0, numel)
        x = torch.zeros(1, numel, device=device)
        keys = torch.tensor([[20111115, 2]], device=device)
        row = torch.zeros(1, dtype=torch.int64, device=device)
        step = ops.bind(x=x, row=row, rows=rows, keys=keys, model_input=torch.zeros_like(x),
                        t=torch.zeros(1, device=device), stream=(threads, True))  # fmt: skip
        step(None)
        expected = torch.randn((1, numel), generator=generator, device=device)
        if not torch.equal(x, expected):
            different = int((x != expected).sum())
            return f"{different} of {numel} numbers differ from torch.randn {torch.__version__}"
    return ""
