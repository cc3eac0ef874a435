"""Philox4x32-10 and Box-Muller in numpy, from the papers: independent of the package."""

import numpy as np

MASK = np.uint64(0xFFFFFFFF)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
SHIFT = np.uint64(32)


def philox(counter, key):
    """Ten rounds (Salmon et al., SC 2011) on uint64 arrays of 32-bit words."""
    c = [np.asarray(word, np.uint64) for word in counter]
    k = [np.asarray(word, np.uint64) for word in key]
    for _ in range(10):
        high, low = zip(*((p >> SHIFT, p & MASK) for p in (M0 * c[0], M1 * c[2])), strict=True)
        c = [high[1] ^ c[1] ^ k[0], low[1], high[0] ^ c[3] ^ k[1], low[0]]
        k = [(k[0] + np.uint64(0x9E3779B9)) & MASK, (k[1] + np.uint64(0xBB67AE85)) & MASK]
    return c


def cipher(seed, offset, blocks):
    """[blocks, 4] uint64: words of blocks offset, offset + 1, ... (modulo 2^64) of a seed."""
    seed = np.uint64(seed % 2**64)
    index = np.array([(offset + b) % 2**64 for b in range(blocks)], np.uint64)
    zero = np.zeros_like(index)
    words = philox((index & MASK, index >> SHIFT, zero, zero), (seed & MASK, seed >> SHIFT))
    return np.stack(words, axis=-1)


def box_muller(u):
    """[..., 2n] normals from [..., 2n] uniforms (u1, u2, u3, u4, ...): cosine first."""
    radius = np.sqrt(-2 * np.log(u[..., 0::2]))
    angle = 2 * np.pi * u[..., 1::2]
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1).reshape(u.shape)


def normals(seed, offset, numel):
    """[numel] float64: what the float32 normals are before they are rounded."""
    w = cipher(seed, offset, -(-numel // 4)).astype(np.float32).astype(np.float64)
    u = (w * 2.0**-32 + 2.0**-33).astype(np.float32)  # the sum is exact, then one rounding
    return box_muller(u.astype(np.float64)).reshape(-1)[:numel]


def wide_uniforms(seed, offset, blocks):
    """[blocks, 2] float64 uniforms in (0, 1], two words each."""
    w = cipher(seed, offset, blocks)
    exact = (w[:, 0::2].astype(object) * 2**33 + w[:, 1::2].astype(object) * 2 + 1).astype(object)
    return (exact / 2**65).astype(np.float64)  # division of Python integers rounds once


def wide_normals(seed, offset, numel):
    """[numel] float64 normals, two to a block."""
    return box_muller(wide_uniforms(seed, offset, -(-numel // 2))).reshape(-1)[:numel]
