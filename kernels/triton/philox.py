"""Philox4x32-10 on 64-bit block numbers (Salmon et al., SC 2011), as in torch.func._random."""

import triton
import triton.language as tl


@triton.jit
def words(seed, block):
    """The four words of each block (int64) of a stream: the counter is (low, high, 0, 0)."""
    low = block.to(tl.uint32)
    high = (block >> 32).to(tl.uint32)
    zero = low * 0
    return tl.philox(seed, low, high, zero, zero)
