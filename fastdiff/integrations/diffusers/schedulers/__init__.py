"""The fused schedulers, under the names of those that they replace."""

from ..fused import Fused
from . import flow, helios, karras_ve, lam, sde, sigmas, timesteps

#: name -> class
SCHEDULERS = {
    name: value
    for module in (timesteps, sigmas, lam, flow, sde, helios, karras_ve)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Fused) and hasattr(value, "stock")
}
