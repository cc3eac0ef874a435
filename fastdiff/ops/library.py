"""The torch.library objects, and the native module if it was built."""

import warnings

import torch

LIBRARY = torch.library.Library("fastdiff", "DEF")
# The same operators on one backend whatever the device, for those who choose (select.py).
REFERENCE = torch.library.Library("fastdiff_reference", "DEF")
TRITON = torch.library.Library("fastdiff_triton", "DEF")
LIBRARIES = (LIBRARY, REFERENCE, TRITON)


def _load():
    try:
        from .. import _C
    except ImportError as error:
        warnings.warn(
            f"fastdiff's native module is not available ({error}): operations run on the PyTorch "
            "reference, which is exact but slow. Reinstall with a C++ compiler to get it.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return _C


native = _load()


def define(schema: str, reference, fake, triton) -> None:
    """Register an op: schema, reference on every device (native kernels override it), fake."""
    name = schema.split("(")[0]
    for library, kernel in ((LIBRARY, reference), (REFERENCE, reference), (TRITON, triton)):
        library.define(schema)
        library.impl(name, kernel, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{library.ns}::{name}", fake, lib=library)


def require_memory(**tensors) -> None:
    """Raise ValueError for tensors on the meta device."""
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_meta:
            raise ValueError(f"{name}: expected a tensor in memory, got one on meta")


def refuse_gradient(**tensors) -> None:
    """Sampling ops have no autograd formula: raise rather than lose a gradient silently."""
    if not torch.is_grad_enabled():
        return
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            raise RuntimeError(
                f"{name}: expected a tensor without gradient, got requires_grad=True while grad "
                "mode is on; this operation is not differentiable: use torch.no_grad() or detach()"
            )
