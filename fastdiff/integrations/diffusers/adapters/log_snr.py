"""Plans of the schedulers in lam = log(alpha / sigma) that look back."""

from dataclasses import replace

from ....solvers import (
    DDIM,
    DEIS,
    DPMpp2M,
    DPMpp3M,
    DPMSolver,
    DPMSolverSinglestep,
    SASolver,
    UniPC,
)
from .deviations import Known
from .lowering import (
    FLOW,
    VP,
    Plan,
    Unsupported,
    counted_sigmas,
    name_of,
    sigmas_of,
    threshold,
    times_of_rho,
    walk,
)
from .sigmas import edm_frame

FEW = 15  # steps below which ``lower_order_final`` applies


def frame(scheduler, begin, sigmas=counted_sigmas) -> dict:
    """Schedule, prediction and levels of a scheduler with ``sigmas``."""
    levels, config = sigmas(scheduler, begin), scheduler.config
    prediction = name_of(config)
    if config.use_flow_sigmas:
        if prediction == "v":
            raise Unsupported("a v model on flow sigmas")
        return {"schedule": FLOW, "prediction": prediction, "walks": walk(levels.tolist())}
    if prediction == "flow":
        raise Unsupported("a flow model on sigmas that are not those of a flow")
    return {"schedule": VP, "prediction": prediction, "walks": walk(times_of_rho(levels))}


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


def dpm_solver(scheduler, begin) -> Plan:
    config = scheduler.config
    solver = _of_order(scheduler)
    return Plan(
        solver, **frame(scheduler, begin), clip=threshold(config),
        draws=_every(scheduler, begin, solver.stochastic), keep=config.solver_order - 1,
        channels=first_channels(config),
    )  # fmt: skip


def dpm_solver_inverse(scheduler, begin) -> Plan:
    """Timesteps that are the same after rounding are left out, of the end of the sigmas."""
    plan, steps = dpm_solver(scheduler, begin), len(scheduler.timesteps) - begin
    return replace(plan, walks=(plan.walks[0][: steps + 1],), draws=plan.draws[:steps])


def edm_dpm_solver(scheduler, begin) -> Plan:
    config = scheduler.config
    solver, levels = _of_order(scheduler), counted_sigmas(scheduler, begin).tolist()
    return Plan(
        solver, walks=walk(levels), **edm_frame(scheduler),
        clip=threshold(config), draws=_every(scheduler, begin, solver.stochastic),
        keep=config.solver_order - 1,
    )  # fmt: skip


def endings(config, timesteps) -> dict:
    """How a scheduler ends, wherever its timesteps do."""
    to_clean = getattr(config, "final_sigmas_type", None) == "zero"
    return {
        "lower_order_final": config.lower_order_final and len(timesteps) < FEW,
        "euler_at_final": config.euler_at_final or to_clean,
    }


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


def singlestep(scheduler, begin) -> Plan:
    config, order = scheduler.config, scheduler.config.solver_order
    eta = 1.0 if config.algorithm_type.startswith("sde") else 0.0
    if eta and order == 3 and config.solver_type == "heun":
        raise Unsupported("solver_order 3 and solver_type 'heun' of an SDE, which has a wrong sign")
    quantity = "x0" if config.algorithm_type.endswith("++") else "eps"
    if quantity == "eps" and config.thresholding:
        raise Unsupported("thresholding of a model of eps")
    solver = DPMSolverSinglestep(
        order, config.solver_type, quantity, config.lower_order_final, eta=eta
    )
    plan = Plan(
        solver, **frame(scheduler, begin, sigmas_of), clip=threshold(config),
        draws=(solver.stochastic,) * (len(scheduler.sigmas) - 1 - begin), keep=order - 1,
        channels=first_channels(config),
    )  # fmt: skip
    wanted = scheduler.order_list[begin:]
    if _orders(plan) != wanted:
        raise Unsupported(f"the orders {wanted}")
    return plan


def _orders(plan):
    """What the stages of a plan are in ``order_list``: 1, 2, 3, 1, 2, ..."""
    from ....tables.path import Path

    sizes = plan.solver.sizes(Path.along(plan.schedule, plan.walks[0]))
    return [stage for size in sizes for stage in range(1, size + 1)]


def deis(scheduler, begin) -> Plan:
    config = scheduler.config
    taper = config.lower_order_final and len(scheduler.timesteps) < FEW
    solver = DEIS(config.solver_order, lower_order_final=taper)
    keep = config.solver_order - 1
    return Plan(solver, **frame(scheduler, begin), clip=threshold(config), keep=keep)


def unipc(scheduler, begin) -> Plan:
    config = scheduler.config
    if scheduler.solver_p:
        raise Unsupported("solver_p")
    solver = UniPC(
        config.solver_order, config.solver_type, config.lower_order_final,
        "x0" if scheduler.predict_x0 else "eps",
        tuple(k - begin for k in scheduler.disable_corrector),
    )  # fmt: skip
    clip = threshold(config) if scheduler.predict_x0 else None
    return Plan(solver, **frame(scheduler, begin), clip=clip, keep=config.solver_order)


def sa_solver(scheduler, begin) -> Plan:
    config = scheduler.config
    if first_channels(config):  # the stock step takes the noise for as many channels as came
        raise Unsupported(f"variance_type {config.variance_type!r}")
    quantity = "x0" if scheduler.predict_x0 else "eps"
    if quantity == "eps" and config.thresholding:
        raise Unsupported("thresholding of a model of eps")
    options = frame(scheduler, begin)
    walked = options["walks"][0]
    told = scheduler.timesteps[begin:]
    taus = Known(walked[:-1], tuple(float(scheduler.tau_func(t)) for t in told))
    solver = SASolver(
        config.predictor_order, config.corrector_order, taus, None, quantity,
        config.lower_order_final,
    )  # fmt: skip
    draws = _every(scheduler, begin, True)
    keep = max(config.predictor_order, config.corrector_order) - 1
    return Plan(solver, **options, clip=threshold(config), draws=draws, keep=keep)


def _every(scheduler, begin, draws):
    return (bool(draws),) * (len(counted_sigmas(scheduler, begin)) - 1)
