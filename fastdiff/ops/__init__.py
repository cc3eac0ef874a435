"""The narrow waist: a few operations on tensors that know no diffusion words.

Each is ``torch.ops.fastdiff.<name>`` with a schema, a fake implementation and a PyTorch reference
(``fastdiff.ops.reference``) that serves every device without native code.
"""

from .bound import bind
from .generator import randn_, skip_like
from .library import native
from .moments import moments
from .noise import normal
from .select import backend, backend_of
from .step import step_
from .training import (
    bernoulli,
    categorical,
    discretised_gaussian,
    discretised_logistic,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_sample_kl,
    mix_noise,
    squared_error,
)

__all__ = [
    "backend",
    "backend_of",
    "bernoulli",
    "bind",
    "categorical",
    "discretised_gaussian",
    "discretised_logistic",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample_kl",
    "mix_noise",
    "moments",
    "native",
    "normal",
    "randn_",
    "skip_like",
    "squared_error",
    "step_",
]
