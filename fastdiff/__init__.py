"""fastdiff: fast, exact and reproducible sampling from diffusion models."""

from typing import TYPE_CHECKING

from . import (
    elbo,
    grids,
    guidance,
    likelihood,
    losses,
    models,
    noise,
    ops,
    processes,
    schedules,
    solvers,
)
from .arguments import attributes
from .build import build_info
from .ops import backend, backend_of
from .sampling import SamplerState, sample
from .solvers import StepTable

__all__ = [
    "SamplerState",
    "StepTable",
    "backend",
    "backend_of",
    "build_info",
    "elbo",
    "grids",
    "guidance",
    "likelihood",
    "losses",
    "models",
    "noise",
    "ops",
    "processes",
    "sample",
    "schedules",
    "solvers",
]


__version__ = "0.1.0"

# Training needs the packages of an extra, and integrations those of others.
if TYPE_CHECKING:
    from . import integrations as integrations
    from . import training as training
else:
    __getattr__ = attributes(__name__, lazy=("training", "integrations"))
