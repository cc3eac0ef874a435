"""The device that an option names, and its clock."""

from __future__ import annotations

import time

import torch


def resolve(name: str) -> torch.device:
    """The torch device called ``name``, or "auto": CUDA if there is one, else the CPU.

    Raises:
        ValueError: no such device, or none that works here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.empty(0, device=device)  # it may be known to a torch that was built without it
            return device
        count = torch.cuda.device_count()  # no tensor: each process would open the first GPU
        if (device.index or 0) < count:
            return device
        why = f"{count} of them here"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
    raise ValueError(
        f"device: expected auto, or a torch device that works here, got {name!r}: {why}"
    )


def clock(device: torch.device):
    """A function that says the time in seconds, once all that the device has been told is done."""
    if device.type != "cuda":
        return time.perf_counter

    def now():
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
