"""The torch.library objects, and the native module if it was built."""

import warnings

import torch

from .arguments import refuse_gradient as refuse_gradient
from .arguments import require_alike, require_storage
from .arguments import require_memory as require_memory

LIBRARY = torch.library.Library("fastdiff", "DEF")
# The same operators on one backend whatever the device, for those who choose (select.py).
REFERENCE = torch.library.Library("fastdiff_reference", "DEF")
TRITON = torch.library.Library("fastdiff_triton", "DEF")
LIBRARIES = (LIBRARY, REFERENCE, TRITON)
PYTHON: dict = {}  # name -> the reference of an op as the function that it is


def _load():
    try:
        from .. import _C  # type: ignore[attr-defined]  # compiled
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
    """Register an op: schema, reference on every device (native kernels override it), fake.

    The native kernels check what they get; for the others it is checked here that all tensors are
    dense, on one device and, where there is memory, within it.
    """
    name, arguments = schema.split(" -> ")[0].rstrip(")").split("(", 1)
    names = [argument.split("=")[0].split(" ")[-1] for argument in arguments.split(", ")]

    def checked(kernel, *checks):
        def run(*values):
            for check in checks:
                check(names, values)
            return kernel(*values)

        return run

    PYTHON[name] = reference
    both = require_alike, require_storage
    for library, kernel in ((LIBRARY, reference), (REFERENCE, reference), (TRITON, triton)):
        library.define(schema)
        library.impl(name, checked(kernel, *both), "CompositeExplicitAutograd")
        torch.library.register_fake(
            f"{library.ns}::{name}", checked(fake, require_alike), lib=library
        )
