"""Plans of the schedulers of Helios: one stage of its pyramid at a time."""

from dataclasses import replace

import numpy as np

from ....solvers import FlowEuler, FlowLCM
from .deviations import Corrected
from .log_snr import unipc
from .lowering import FLOW, Plan, Unsupported, counted_sigmas, sigmas_of, walk

CLEAN = 1e-8  # the smallest sigma


def helios(scheduler, begin) -> Plan:
    config, sigmas = scheduler.config, counted_sigmas(scheduler, begin)
    if config.scheduler_type == "euler":
        return Plan(FlowEuler(), FLOW, "flow", walk(sigmas.tolist()))
    if config.scheduler_type != "unipc":
        raise Unsupported(f"scheduler_type {config.scheduler_type!r}")
    if config.thresholding:
        raise Unsupported("thresholding")
    if config.prediction_type == "flow_prediction" and not scheduler.predict_x0:
        raise Unsupported("a flow model without predict_x0")
    plan = unipc(scheduler, begin)
    plan = replace(plan, solver=Corrected(**vars(plan.solver)), second="anchor")
    if not config.use_flow_sigmas:
        return plan
    if sigmas[0] == 1:
        raise Unsupported("a start from sigma = 1, from where its corrector has no order")
    return replace(plan, walks=walk(np.maximum(sigmas, CLEAN).tolist()))


def helios_dmd(scheduler) -> Plan:
    """Levels are those of the timesteps nearest to the timesteps rounded down."""
    t = scheduler.timesteps.double().numpy()
    at = np.abs(t - np.trunc(t)[:, None]).argmin(axis=1)
    draws = (True,) * (len(t) - 1) + (False,)
    sigmas = sigmas_of(scheduler)[at].tolist()
    return Plan(FlowLCM(), FLOW, "flow", walk([*sigmas, 0.0]), draws=draws)
