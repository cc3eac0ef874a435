"""torch's own noise, drawn inside the kernel: the numbers of torch.randn from CUDA generators.

torch fills a tensor with one Philox subsequence per thread of its launch, so that its numbers
depend on the device and on its version. The mapping is probed once per process and device, and not
used where the probe fails: torch then draws the noise itself, as for any other source.
"""

import functools
import warnings
from collections.abc import Sequence

import torch

from .. import ops


class GeneratorStream:
    """The keys that make a kernel draw what the generators would, and their bookkeeping.

    Attributes:
        launch: (threads, shared) for ``fastdiff.ops.bind``.
    """

    def __init__(self, generators, shared, program, buffers):
        self.generators, self.draws = generators, program.draws
        numel = buffers.x.numel() if shared else buffers.x[0].numel()
        threads = ops.native.torch_threads(buffers.x.device.index or 0, numel)
        self.launch = (threads, shared)
        self.increment = 4 * ((numel - 1) // (4 * threads) + 1)  # in words, as generators count
        keys = [[_signed(g.initial_seed()), g.get_offset() // 4] for g in generators]
        keys = torch.tensor(keys, device=buffers.x.device)
        buffers.keys.copy_(keys.expand(buffers.keys.shape))

    @classmethod
    def of(cls, source, program, buffers) -> "GeneratorStream | None":
        """The stream of "torch", a CUDA generator, or one for each sample; None where the kernel
        cannot draw it."""
        x = buffers.x
        generators, shared = _generators(source, x)
        usable = (
            generators
            and x.dtype == torch.float32
            and x.numel() > 0
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

    def advance(self, place) -> None:
        """Move the generators on, as torch.randn would have: ``place`` is where each sample is."""
        draws = self.draws[place]
        chosen = [draws.any()] if self.launch[1] else draws
        for generator, drew in zip(self.generators, chosen, strict=True):
            if drew:
                generator.set_offset(generator.get_offset() + self.increment)


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


def _signed(seed: int) -> int:
    return seed - 2**64 if seed >= 2**63 else seed


@functools.cache
def probe(device: torch.device) -> str:
    """Why the kernel cannot draw the numbers of this torch on this device; "" if it can."""
    from ..row import COLUMN, WIDTH

    rows = torch.zeros(2, WIDTH, device=device)
    rows[:, COLUMN["slot"]] = -1
    rows[0, [COLUMN[name] for name in ("c_z", "draw", "live")]] = 1.0
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
