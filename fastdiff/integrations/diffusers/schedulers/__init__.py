"""The fused schedulers, under the names of those that they replace."""

import diffusers

from ..fused import Fused
from . import flow, lam, sigmas, timesteps

#: name -> class
SCHEDULERS = {
    name: value
    for module in (timesteps, sigmas, lam, flow)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Fused) and hasattr(diffusers, name)
}
