"""Facts about the installed binary, for bug reports and benchmark records."""

import platform

from .ops.library import native
from .ops.select import MISSING


def build_info() -> dict:
    """Versions, native module, CPU clones, CUDA architectures and backends of this installation."""
    import numpy
    import torch

    from . import __version__

    return {
        "fastdiff": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "native": native is not None,
        "cpu_clone": native.cpu_clone() if native else None,
        "cpu_clones": native.cpu_clones() if native else [],
        "cuda_archs": native.cuda_archs.split() if native else [],
        "backends": [name for name, missing in MISSING.items() if not missing],
        "devices": ["cpu", *map(torch.cuda.get_device_name, range(torch.cuda.device_count()))],
        "threads": torch.get_num_threads(),
    }
