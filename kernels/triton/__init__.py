"""The operations of fastdiff in Triton, one per file, for every device that Triton compiles for.

Imported as ``fastdiff.kernels.triton`` when first used. The functions here launch kernels on
tensors that ``fastdiff.ops`` has checked. A kernel is compiled on its first call, for what decides
its code (dtypes, which operands there are, how outputs lie in memory), not for seeds, rows or batch
sizes. The arithmetic is that of csrc/core, operation by operation: what can differ from the native
kernels is how a device rounds, not what is computed.
"""

import triton

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 4):
    raise ImportError(f"triton: expected version 3.4 or newer, got {triton.__version__}")

from . import training as training
from .moments import moments_ as moments_
from .normal import normal_ as normal_
from .step import Step as Step
