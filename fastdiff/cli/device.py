"""The device that an option names."""

from __future__ import annotations

import torch


def resolve(name: str) -> torch.device:
    """The torch device called ``name``, or "auto": CUDA if there is one, else the CPU.

    Raises:
        ValueError: no such device, or none that works here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # The first tensor tells: a name may be known, and the device or its build of torch missing.
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"device: expected auto, or a torch device that works here, got {name!r}: {why}"
        ) from None
