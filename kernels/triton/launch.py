"""Starting kernels."""

from contextlib import nullcontext

import torch
from triton.runtime.interpreter import InterpretedFunction

# Elements that one program covers, in bytes of the state: four 16-byte accesses of a thread where
# there is enough to fill a device, one where there is not.
TILE_BYTES, SMALL_TILE_BYTES = 4096, 1024
SMALL = 1 << 19  # elements of a small batch


def tile_of(batch: int, numel: int, itemsize: int) -> int:
    """Elements of a sample that one program covers, a power of two."""
    return (SMALL_TILE_BYTES if batch * numel <= SMALL else TILE_BYTES) // itemsize


def launch(kernel, programs: int, device: torch.device, *arguments, **constants) -> None:
    """Run ``programs`` instances on the device's current stream. They are numbered along the x axis
    alone, which has room for 2^31 - 1 of them."""
    with _on(device, kernel):
        # Rounding is part of the contract: no contraction of products and sums into fma.
        kernel[(programs,)](*arguments, **constants, enable_fp_fusion=False)


def _on(device: torch.device, kernel):
    """Triton launches on the current device, whatever the tensors are on."""
    if device.type != "cpu":
        return torch.get_device_module(device).device(device)
    if not isinstance(kernel, InterpretedFunction):
        raise ValueError(
            'backend: "triton" serves tensors on GPUs (and on the CPU only under '
            f"TRITON_INTERPRET=1), got one on {device}"
        )
    return nullcontext()
