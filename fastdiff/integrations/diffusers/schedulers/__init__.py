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

The others' results are within 1e-4 of those of stock on states of unit variance in float32, but for
these, where stock is as far from what it does in float64: UnCLIP (4e-3 in x0, which is divided by
alpha = 5e-5), SASolver and UniPC of eps (5e-4), DEIS and the DPM-Solvers on beta and flow sigmas
(2e-4). SCM starts at pi / 2, the stock one 4e-6 beyond it.

Those of torchsde's Brownian path (DPMSolverSDE, CosineDPMSolverMultistep) are there where torchsde
is, without which diffusers has none.
"""

from .registry import twins
from .table import SPECS

#: name -> class
SCHEDULERS = twins(SPECS)

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
