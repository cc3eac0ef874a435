"""Which implementation of the operations runs: the device's own, or the one chosen here."""

import importlib.util

import torch

from ..arguments import describe
from .library import native

_spec = importlib.util.find_spec("triton")
HAS_TRITON = _spec is not None and _spec.origin is not None  # not just any folder of that name
# The native CUDA kernels are NVIDIA's; torch calls devices of ROCm "cuda", too.
HAS_CUDA = bool(native and native.cuda_archs) and torch.version.hip is None

_chosen: str | None = None


class backend:
    """Run the operations on a backend of your choice, as a context manager::

        with fastdiff.backend("triton"):
            x = fastdiff.sample(model, x, table)

    A ``SamplerState`` keeps the backend that was chosen when it was made, compiled code the one
    that was chosen when it ran first. The choice holds for the whole process.

    Args:
        name: "cpu" and "cuda" (native kernels for tensors there), "triton" (tensors on GPUs, and on
            the CPU under Triton's interpreter), "reference" (PyTorch in float64, any device), or
            "auto": native kernels where there are any, else Triton on GPUs, else the reference.

    Raises:
        ValueError: there is no such backend.
        RuntimeError: it is not there in this installation; the message says what is missing.
    """

    def __init__(self, name: str):
        if not isinstance(name, str) or (name not in MISSING and name != "auto"):
            expected = ", ".join(f'"{known}"' for known in ("auto", *MISSING))
            raise ValueError(f"backend: expected one of {expected}, got {name!r}")
        if missing := MISSING.get(name):
            raise RuntimeError(f"backend: {name!r} is not available: {missing}")
        self.name = None if name == "auto" else name

    def __enter__(self):
        global _chosen
        self.before, _chosen = _chosen, self.name

    def __exit__(self, *_):
        global _chosen
        _chosen = self.before


#: What each backend lacks to work here; "" for one that works.
MISSING = {
    "cpu": "" if native else "fastdiff was installed without its native module",
    "cuda": "" if HAS_CUDA else "the native module holds no CUDA kernels for this build of torch",
    "triton": ""
    if HAS_TRITON
    else "Triton is not installed; pip install 'fastdiff[triton]' (the torch wheels for ROCm and "
    "XPU bring a Triton of their own)",
    "reference": "",
}


def backend_of(device) -> str:
    """The name of the backend that runs operations on tensors of ``device`` now.

    Raises:
        ValueError: the chosen backend does not serve that device.
    """
    kind = (device if isinstance(device, torch.device) else _parsed(device)).type
    if _chosen is None:
        return "cpu" if kind == "cpu" and native is not None else _default(kind)
    if _chosen in ("cpu", "cuda") and kind not in (_chosen, "meta"):
        raise ValueError(f"backend: {_chosen!r} serves tensors on {_chosen}, got one on {device}")
    return _chosen


def _parsed(device) -> torch.device:
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        expected = 'a device such as "cpu"'
        raise ValueError(f"device: expected {expected}, got {describe(device)}") from None


def wide(device: torch.device) -> torch.dtype:
    """The dtype of sums and of the reference's arithmetic on a device: float64, or float32 where
    the device has no float64 (MPS, some NPUs)."""
    known = _WIDE.get(device.type)
    return known or _WIDE.setdefault(device.type, _widest(device.type))


#: By kind of device: what is known, and what was found out since.
_WIDE = {"cpu": torch.float64, "cuda": torch.float64, "meta": torch.float64}


def _widest(kind: str) -> torch.dtype:
    try:
        return torch.zeros((), dtype=torch.float64, device=kind).dtype
    except (TypeError, RuntimeError):
        return torch.float32


def _default(kind: str) -> str:
    if kind == "cpu" and native is not None:
        return "cpu"
    if kind == "cuda" and HAS_CUDA:
        return "cuda"
    return "triton" if HAS_TRITON and kind in ("cuda", "xpu") else "reference"


def namespace(device) -> str:
    """Under which ``torch.ops`` has the operators of the backend that serves ``device``."""
    if native is not None and _chosen is None and device.type == "cpu":  # without further calls
        return "fastdiff"
    name = backend_of(device)
    if name == "triton":
        return "fastdiff_triton"
    return "fastdiff_reference" if _chosen == "reference" else "fastdiff"


def operation(name: str, device):
    """The operator ``name`` of the backend that serves ``device``: traceable by torch.compile."""
    return getattr(getattr(torch.ops, namespace(device)), name)
