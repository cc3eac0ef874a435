"""What the interpreter of the installed Triton can do."""

import torch
import triton
import triton.language as tl


@triton.jit
def fma_kernel(a, b, c, out):
    tl.store(out, tl.fma(tl.load(a), tl.load(b), tl.load(c)))


def fuses() -> bool:
    """Whether tl.fma rounds once, as devices do (older interpreters multiply, then add)."""
    a, c, out = torch.tensor([1 + 2.0**-12, -1 - 2.0**-11, 0.0]).split(1)
    fma_kernel[(1,)](a, a, c, out)
    return out.item() == 2.0**-24


FUSES = fuses()
