"""Noise as diffusers draws it."""

import torch
from diffusers.utils.torch_utils import randn_tensor

from ... import ops


def draw(z: torch.Tensor, generator, dtype: torch.dtype) -> None:
    """Fill ``z`` with what ``randn_tensor`` draws from the generator, or the generators."""
    if generator is None or getattr(generator, "device", None) == z.device:
        ops.randn_(z, generator, dtype)
    elif isinstance(generator, list) and len(generator) == 1:
        draw(z, generator[0], dtype)
    elif _one_each(generator, z):
        for part, its in zip(z.split(1), generator, strict=False):
            ops.randn_(part, its, dtype)
    else:
        z.copy_(randn_tensor(z.shape, generator=generator, device=z.device, dtype=dtype))


def _one_each(generators, z):
    return (
        isinstance(generators, list)
        and len(generators) >= len(z)
        and all(getattr(g, "device", None) == z.device for g in generators)
    )


def normal(like: torch.Tensor, generator, source: str) -> torch.Tensor:
    """float32 noise of the shape of ``like``: what ``randn_tensor`` draws on the host ("torch"), or
    fastdiff's own ("philox")."""
    if source == "torch":
        return randn_tensor(like.shape, generator=generator).to(like.device)
    keys = torch.zeros(len(like), 2, dtype=torch.int64, device=like.device)
    take_keys(keys, generator)
    return ops.normal(keys, like.shape[1:])


def take_keys(keys: torch.Tensor, generator) -> None:
    """Philox keys [B, 2] from where generators stand, which are moved on: a generator per sample,
    or one from which sample b has the key with seed + b. Does not wait for a device."""
    if isinstance(generator, (list, tuple)) and len(generator) > 1:
        seeds = [_seed(g) for g in generator]
    else:
        first = _seed(generator[0] if isinstance(generator, (list, tuple)) else generator)
        seeds = [first + b for b in range(len(keys))]
    host = torch.tensor([[seed % 2**63, 0] for seed in seeds])
    keys.copy_(host, non_blocking=True)


def _seed(generator) -> int:
    if generator is None or generator.device.type == "cpu":
        return int(torch.randint(2**63 - 1, (), generator=generator))
    seed, offset = generator.initial_seed(), generator.get_offset()
    generator.set_offset(offset + 4)
    return seed + (offset << 40)
