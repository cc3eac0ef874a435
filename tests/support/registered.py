"""Instances of everything in the registries. What has no entry here is built from its defaults."""

import numpy as np
from hypothesis import settings

from fastdiff import schedules, solvers
from fastdiff.parameterization import PREDICTIONS
from fastdiff.schedules import (
    EDM,
    DiscreteBetas,
    DiscreteSigmas,
    LogSNR,
    RectifiedFlow,
    VarianceExploding,
    VPLinear,
)

few = settings(max_examples=20, deadline=None)  # for properties tested on every example below


def wavy(t):
    return -10 + 14 * t + np.sin(t)


_SCHEDULES = {
    "DiscreteBetas": [
        DiscreteBetas.linear(),
        DiscreteBetas.scaled_linear(),
        DiscreteBetas.cosine(50),
        DiscreteBetas.linear(100).zero_terminal(),
    ],
    "DiscreteSigmas": [
        DiscreteSigmas.of(DiscreteBetas.scaled_linear()),
        DiscreteSigmas.of(DiscreteBetas.linear(50), log=False),
    ],
    "EDM": [EDM(), EDM(precondition=True)],
    "LogSNR": [LogSNR(), LogSNR(wavy)],
    "RectifiedFlow": [RectifiedFlow(), RectifiedFlow(3.0)],
    "VarianceExploding": [VarianceExploding(VPLinear()), VarianceExploding(DiscreteBetas.linear())],
}

SCHEDULES = [
    schedule
    for name in schedules.names()
    for schedule in _SCHEDULES.get(name) or [getattr(schedules, name)()]
]

_SOLVERS = {
    "DDIM": [solvers.DDIM(), solvers.DDIM(0.4), solvers.DDIM(1), solvers.DDIM(0.7, keep_eps=True)],
    "DDPM": [solvers.DDPM(), solvers.DDPM("fixed_large")],
    "DDIMInverse": [solvers.DDIMInverse(), solvers.DDIMInverse(shifted=False)],
    "DEIS": [solvers.DEIS(2), solvers.DEIS(4)],
    "DPMFast": [solvers.DPMFast(0), solvers.DPMFast(2), solvers.DPMFast(2, eta=0.7)],
    "DPMSolver": [
        solvers.DPMSolver(),
        solvers.DPMSolver(3, form="corrected"),
        solvers.DPMSolver(1, eta=0.25),
        solvers.DPMSolver(2, eta=1),
        solvers.DPMSolver(3, "heun", eta=0.5, euler_at_final=True),
    ],
    "DPMSolverSinglestep": [
        solvers.DPMSolverSinglestep(),
        solvers.DPMSolverSinglestep(2, "heun", "eps"),
        solvers.DPMSolverSinglestep(3, "midpoint", "eps"),
        solvers.DPMSolverSinglestep(3, "heun"),
        solvers.DPMSolverSinglestep(3, "paper"),
        solvers.DPMSolverSinglestep(3, lower_order_final=True),
        solvers.DPMSolverSinglestep(3, eta=1),
    ],
    "DPMpp2M": [solvers.DPMpp2M(), solvers.DPMpp2M("heun", lower_order_final=True)],
    "DPMpp2MSDE": [solvers.DPMpp2MSDE(), solvers.DPMpp2MSDE(kind="heun", eta=0.5)],
    "DPMpp2S": [solvers.DPMpp2S(), solvers.DPMpp2S(eta=1), solvers.DPMpp2S(eta=1.5)],
    "DPMpp2SRF": [solvers.DPMpp2SRF(eta=1), solvers.DPMpp2SRF(eta=0.4)],
    "DPMpp3M": [
        solvers.DPMpp3M(),
        solvers.DPMpp3M("corrected", "heun"),
        solvers.DPMpp3M("corrected", lower_order_final=True),
    ],
    "DPMpp3MSDE": [
        solvers.DPMpp3MSDE(),
        solvers.DPMpp3MSDE("corrected"),
        solvers.DPMpp3MSDE("corrected", eta=0.5),
    ],
    "DPMppSDE": [solvers.DPMppSDE(), solvers.DPMppSDE(0.7, eta=0.5), solvers.DPMppSDE(1)],
    "EDMHeun": [solvers.EDMHeun(10, 0.0, np.inf, 1.0)],
    "Euler": [solvers.Euler(), solvers.Euler(20), solvers.Euler(20, late=True)],
    "EulerAncestral": [solvers.EulerAncestral(eta) for eta in (1.0, 0.3, 1.5)],
    "EulerAncestralRF": [solvers.EulerAncestralRF(), solvers.EulerAncestralRF(0.4)],
    "LCM": [solvers.LCM(timestep_scaling=1e4)],
    "EulerMaruyama": [solvers.EulerMaruyama(), solvers.EulerMaruyama(0.0)],
    "IPNDM": [solvers.IPNDM(2), solvers.IPNDM()],
    "KDPM2": [solvers.KDPM2(), solvers.KDPM2(20)],
    "KDPM2Ancestral": [solvers.KDPM2Ancestral(), solvers.KDPM2Ancestral(0.4)],
    "KDPM2AncestralRF": [solvers.KDPM2AncestralRF(), solvers.KDPM2AncestralRF(0.4)],
    "LMS": [solvers.LMS(2), solvers.LMS(), solvers.LMS(5, final_denoise=True)],
    "PLMS": [solvers.PLMS(), solvers.PLMS("prk"), solvers.PLMS(final_denoise=True)],
    "ReverseDiffusion": [solvers.ReverseDiffusion(), solvers.ReverseDiffusion(0.0)],
    "SASolver": [
        solvers.SASolver(),
        solvers.SASolver(3, 4, 0.6),
        solvers.SASolver(4, 0, prediction_target="eps"),
        solvers.SASolver(1, 1, 0.5, prediction_target="eps", correct_final=True),
        solvers.SASolver(3, 3, 0.0, lower_order_final=True),
    ],
    "UniPC": [
        solvers.UniPC(1, "bh1"),
        solvers.UniPC(2, "bh1"),
        solvers.UniPC(2, "bh2", correct_final=True),
        solvers.UniPC(2, "bh1", prediction_target="eps", disable_corrector=(0, 3)),
        solvers.UniPC(3, "bh1", lower_order_final=True),
        solvers.UniPC(3, "bh2"),
        solvers.UniPC(4, "bh2"),
    ],
}

_ALL = [
    solver for name in solvers.names() for solver in _SOLVERS.get(name) or [solvers.get(name)()]
]
SOLVERS = [solver for solver in _ALL if not isinstance(solver, solvers.DDIMInverse)]
INVERSES = [solver for solver in _ALL if isinstance(solver, solvers.DDIMInverse)]


def predictions(schedule):
    """The predictions that make sense on the schedule, as far as its noisy end."""
    for prediction in PREDICTIONS:
        blind = prediction in ("eps", "score") and schedule.alpha(schedule.t_max) == 0
        if prediction == "flow" and schedule.input_scale(schedule.t_smallest) != 1:
            continue
        if prediction == "flow" and not np.isfinite(schedule.dalpha(schedule.t_max)):
            continue  # a discrete table that ends in one jump to alpha = 0
        if not blind:
            yield prediction
    if isinstance(schedule, EDM) and schedule.precondition:
        yield "edm"


CASES = [(schedule, prediction) for schedule in SCHEDULES for prediction in predictions(schedule)]


def label(value):
    """A readable pytest id, the same in every process."""
    return getattr(value, "__name__", str(value))
