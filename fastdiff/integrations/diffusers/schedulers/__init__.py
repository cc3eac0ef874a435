"""The fused schedulers, under the names of those that they replace.

A row adds up numbers, so that these are left as they are:

========================  =========================================================
AmusedScheduler           tokens: drawn, and masked again where confidence is low
BlockRefinementScheduler  tokens: drawn, and kept where confidence is high
DiscreteDDIMScheduler     tokens: drawn from a categorical posterior
EntropyBoundScheduler     tokens: drawn, and kept up to a bound of their entropy
VQDiffusionScheduler      tokens: drawn from a categorical posterior
PiflowScheduler           ``n_grid`` model outputs, 10 of them, in one step
========================  =========================================================

Those of torchsde's Brownian path (DPMSolverSDE, CosineDPMSolverMultistep) are there where torchsde
is, without which diffusers has none.
"""

from ..fused import Fused
from . import flow, helios, karras_ve, lam, sde, sigmas, timesteps

#: name -> class
SCHEDULERS = {
    name: value
    for module in (timesteps, sigmas, lam, flow, sde, helios, karras_ve)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Fused) and hasattr(value, "stock")
}

TOKENS = "its samples are tokens that are drawn and masked; a row adds up numbers"
#: Why others have none.
LEFT = dict.fromkeys(
    (
        "AmusedScheduler",
        "BlockRefinementScheduler",
        "DiscreteDDIMScheduler",
        "EntropyBoundScheduler",
        "VQDiffusionScheduler",
    ),
    TOKENS,
)
LEFT["PiflowScheduler"] = "its step weighs more outputs of the model than the 4 that a row takes"
