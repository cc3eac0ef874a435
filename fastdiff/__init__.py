"""fastdiff: fast, exact and reproducible sampling from diffusion models."""

from . import elbo as elbo
from . import grids as grids
from . import guidance as guidance
from . import likelihood as likelihood
from . import losses as losses
from . import models as models
from . import noise as noise
from . import ops as ops
from . import processes as processes
from . import schedules as schedules
from . import solvers as solvers
from .arguments import attributes
from .build import build_info as build_info
from .ops import backend as backend
from .ops import backend_of as backend_of
from .sampling import SamplerState as SamplerState
from .sampling import sample as sample
from .solvers import StepTable as StepTable

__version__ = "0.1.0"

# Training needs the packages of an extra, and integrations those of others.
__getattr__ = attributes(__name__, lazy=("training", "integrations"))
