"""The operations of fastdiff in Triton, one per file, for every device that Triton compiles for.

Imported as ``fastdiff.kernels.triton`` when first used. The functions here launch kernels on tensors
that ``fastdiff.ops`` has checked; they are compiled on their first call, for what decides the
code (dtypes, which operands there are, how outputs lie in memory) and not for seeds, rows or batch
sizes. Normals are those of every other backend: the same Philox words, the same polynomials.
"""

import triton

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 4):
    raise ImportError(f"triton: expected version 3.4 or newer, got {triton.__version__}")

from .moments import moments_ as moments_
from .normal import normal_ as normal_
from .step import Step as Step
