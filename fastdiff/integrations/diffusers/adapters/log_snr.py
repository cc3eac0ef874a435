"""Adapters of the multistep schedulers in lam = log(alpha / sigma)."""

from dataclasses import dataclass, replace

import numpy as np

from ....solvers import (
    DDIM,
    DEIS,
    DPMpp2M,
    DPMpp3M,
    DPMSolver,
    DPMSolverSinglestep,
    FlowEuler,
    SASolver,
    UniPC,
)
from ....typing import PredictionTarget
from .deviations import Corrected
from .lowering import (
    Sampler,
    Unsupported,
    counted_sigmas,
    flow,
    name_of,
    preserving,
    sigmas_of,
    threshold,
)
from .sigmas import edm_frame

FEW = 15  # steps below which ``lower_order_final`` applies
CLEAN = 1e-8  # the smallest sigma of Helios


def frame(scheduler, sigmas, times=None) -> dict:
    """Levels and prediction of a scheduler with ``sigmas``, and what its model predicts of them."""
    config = scheduler.config
    prediction = name_of(config)
    if config.use_flow_sigmas and prediction == "v":
        raise Unsupported("a v model on flow sigmas")
    if prediction == "flow" and not config.use_flow_sigmas:
        raise Unsupported("a flow model on sigmas that are not those of a flow")
    levels = flow if config.use_flow_sigmas else preserving
    return {"paths": levels(sigmas, times), "prediction": prediction}


def first_channels(config) -> int | None:
    """How many channels of the output the stock step takes: of a model with a learned variance
    three, which are its mean, whatever the sample has. None: all of them."""
    if getattr(config, "variance_type", None) not in ("learned", "learned_range"):
        return None
    if config.prediction_type != "epsilon":
        raise Unsupported(
            f"variance_type {config.variance_type!r} of a model that does not predict eps"
        )
    return 3


def dpm_solver(scheduler, begin) -> Sampler:
    sigmas = counted_sigmas(scheduler, begin)
    return _multistep(scheduler, frame(scheduler, sigmas), first_channels(scheduler.config))


def dpm_solver_inverse(scheduler, begin) -> Sampler:
    """Timesteps that are the same after rounding are left out, of the end of the sigmas."""
    sampler, steps = dpm_solver(scheduler, begin), len(scheduler.timesteps) - begin
    path = replace(sampler.paths[0], points=sampler.paths[0][: steps + 1])
    return replace(sampler, paths=(path,), draws=sampler.draws[:steps])


def edm_dpm_solver(scheduler, begin) -> Sampler:
    return _multistep(scheduler, edm_frame(scheduler, counted_sigmas(scheduler, begin)))


def _multistep(scheduler, frame, channels=None):
    config, solver, (path,) = scheduler.config, _of_order(scheduler), frame["paths"]
    return Sampler(
        solver, **frame, clip=threshold(config), draws=(solver.stochastic,) * len(path),
        keep=config.solver_order - 1, channels=channels,
    )  # fmt: skip


def _of_order(scheduler):
    config = scheduler.config
    order, kind, algorithm = config.solver_order, config.solver_type, config.algorithm_type
    eta = 1.0 if algorithm.startswith("sde") else 0.0
    options = {"eta": eta, **endings(config, scheduler.timesteps)}
    if order == 3 and eta:
        raise Unsupported("solver_order 3 of an SDE, where the last term has the wrong sign")
    if not algorithm.endswith("++"):
        return DPMSolver(order, kind, **options)
    if order == 1:
        return DDIM(eta)
    if order == 3:
        return DPMpp3M("published", kind, **options)
    return DPMpp2M(kind, **options)


def endings(config, timesteps) -> dict:
    """How a scheduler ends, wherever its timesteps do."""
    to_clean = getattr(config, "final_sigmas_type", None) == "zero"
    return {
        "lower_order_final": config.lower_order_final and len(timesteps) < FEW,
        "euler_at_final": config.euler_at_final or to_clean,
    }


def cosine_dpm_solver(scheduler, begin) -> Sampler:
    config, sigmas = scheduler.config, counted_sigmas(scheduler, begin)
    if scheduler.num_inference_steps is None:
        raise Unsupported("timesteps that were not set")
    order = config.solver_order
    if order not in (1, 2):
        raise Unsupported(f"solver_order {order}")
    options = endings(config, scheduler.timesteps)
    solver = DDIM(1.0) if order == 1 else DPMpp2M(config.solver_type, eta=1.0, **options)
    draws = tuple((sigmas[1:] > 0).tolist())
    return Sampler(solver, **edm_frame(scheduler, sigmas), draws=draws, keep=order - 1)


def singlestep(scheduler, begin) -> Sampler:
    config, order = scheduler.config, scheduler.config.solver_order
    eta = 1.0 if config.algorithm_type.startswith("sde") else 0.0
    if eta and order == 3 and config.solver_type == "heun":
        raise Unsupported("solver_order 3 and solver_type 'heun' of an SDE, which has a wrong sign")
    target = _target(config, config.algorithm_type.endswith("++"))
    solver = DPMSolverSinglestep(
        order, config.solver_type, target, config.lower_order_final, eta=eta
    )
    given = frame(scheduler, sigmas_of(scheduler, begin))
    (path,) = given["paths"]
    orders = [stage for size in solver.sizes(path) for stage in range(1, size + 1)]
    if scheduler.order_list[begin:] != orders:
        raise Unsupported(f"the orders {scheduler.order_list[begin:]}")
    return Sampler(
        solver, **given, clip=threshold(config), draws=(solver.stochastic,) * len(path),
        keep=order - 1, channels=first_channels(config),
    )  # fmt: skip


def deis(scheduler, begin) -> Sampler:
    config = scheduler.config
    taper = config.lower_order_final and len(scheduler.timesteps) < FEW
    solver = DEIS(config.solver_order, lower_order_final=taper)
    given = frame(scheduler, counted_sigmas(scheduler, begin))
    return Sampler(solver, **given, clip=threshold(config), keep=config.solver_order - 1)


def unipc(scheduler, begin, kind=UniPC) -> Sampler:
    config = scheduler.config
    if scheduler.solver_p:
        raise Unsupported("solver_p")
    solver = kind(
        config.solver_order, config.solver_type, config.lower_order_final,
        "x0" if scheduler.predict_x0 else "eps",
        tuple(k - begin for k in scheduler.disable_corrector),
    )  # fmt: skip
    clip = threshold(config) if scheduler.predict_x0 else None
    given = frame(scheduler, counted_sigmas(scheduler, begin))
    return Sampler(solver, **given, clip=clip, keep=config.solver_order)


def helios(scheduler, begin) -> Sampler:
    """One stage of the pyramid of Helios at a time, by the flow method or UniPC."""
    config, sigmas = scheduler.config, counted_sigmas(scheduler, begin)
    if config.scheduler_type == "euler":
        return Sampler(FlowEuler(), flow(sigmas), "flow")
    if config.scheduler_type != "unipc":
        raise Unsupported(f"scheduler_type {config.scheduler_type!r}")
    if config.thresholding:
        raise Unsupported("thresholding")
    if config.prediction_type == "flow_prediction" and not scheduler.predict_x0:
        raise Unsupported("a flow model without predict_x0")
    sampler = unipc(scheduler, begin, Corrected)
    if not config.use_flow_sigmas:
        return sampler
    if sigmas[0] == 1:
        raise Unsupported("a start from sigma = 1, from where its corrector has no order")
    return replace(sampler, paths=flow(np.maximum(sigmas, CLEAN)))


def sa_solver(scheduler, begin) -> Sampler:
    config, t = scheduler.config, scheduler.timesteps[begin:]
    if first_channels(config):  # the stock step takes the noise for as many channels as came
        raise Unsupported(f"variance_type {config.variance_type!r}")
    target = _target(config, scheduler.predict_x0)
    given = frame(scheduler, counted_sigmas(scheduler, begin), [*t.tolist(), 0])
    taus = Taus(tuple((float(at), float(scheduler.tau_func(at))) for at in t))
    solver = SASolver(
        config.predictor_order, config.corrector_order, taus, None, target, config.lower_order_final
    )
    keep = max(config.predictor_order, config.corrector_order) - 1
    return Sampler(solver, **given, clip=threshold(config), draws=(True,) * len(t), keep=keep)


@dataclass(frozen=True)
class Taus:
    """tau at the timesteps: the scheduler's function of them may take nothing but tensors."""

    values: tuple[tuple[float, float], ...]

    def __call__(self, t: float) -> float:
        return dict(self.values)[t]


def _target(config, predict_x0) -> PredictionTarget:
    """What a solver works in."""
    if not predict_x0 and config.thresholding:
        raise Unsupported("thresholding of a model of eps")
    return "x0" if predict_x0 else "eps"
