"""The narrow waist: a few operations on tensors that know no diffusion words.

Each is ``torch.ops.fastdiff.<name>`` with a schema, a fake implementation and a PyTorch reference
(``fastdiff.ops.reference``) that serves every device without native code.
"""

from .library import native as native
from .moments import moments as moments
from .noise import normal as normal
from .step import step_ as step_
