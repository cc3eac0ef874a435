from dataclasses import dataclass

from .consistency import Consistency


@dataclass(frozen=True)
class FlowLCM(Consistency):
    """Few-step sampling of distilled flow models: x0, then fresh noise of the next level.

    x_s = alpha_s x0 + sigma_s z: the "stochastic sampling" of flow-matching schedulers. The same
    rows as ``Consistency``; a shift is the business of the schedule (``RectifiedFlow(shift)``) or
    of the grid (``grids.Flow(shift)``).
    """
