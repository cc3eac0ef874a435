from dataclasses import dataclass

from .flow_euler import FlowEuler


@dataclass(frozen=True)
class FlowMap(FlowEuler):
    """Sampling of a flow map, x_r = x_t - (sigma_t - sigma_r) u(x_t, t, r). Boffi et al. 2024.

    The network is the average velocity over the step (MeanFlow, shortcut and flow-map models), so
    steps of any length are exact as far as it is. The rows are those of ``FlowEuler`` with a "flow"
    prediction; besides its time t, ``table.t[k]``, such a network is conditioned on
    r = ``table.t[k + 1]``.
    """
