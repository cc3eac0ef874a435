"""The multistep and singlestep schedulers of diffusers in lam: the same samples. Those that compute
in the dtype of their tables run in float64, to 1e-9; DPMSolverMultistep casts the state to float32.

Known differences, each with its reason:

* "sde-dpmsolver++" of order 3, and of order 3 and kind "heun" singlestep: 1/2 is subtracted where
  it must be added in the weight of x0''; of weak order 1.
* "sde-dpmsolver" of order 3, and "sde-dpmsolver++" of order 3 in EDMDPMSolverMultistep: raise
  UnboundLocalError.
* "heun" where two levels are the same (sigma_min and a family, whose last level is repeated): NaN.
* In the same place other schedulers take a step of no length, which here is left out. It counts for
  ``lower_order_final``; the predictor-correctors correct there, which is ``correct_final``.
* UniPC "bh1", or of eps, or without ``lower_order_final``, to sigma = 0: NaN.
* DEIS, SASolver: no option to end at sigma = 0; fastdiff can.
* ``rescale_betas_zero_snr`` has alpha = 2^-12 at the end in the place of 0.
"""

import importlib
import sys
import types

import numpy as np
import pytest
from examples import label
from stock import (
    DOUBLE,
    SHAPE,
    SINGLE,
    Draws,
    assert_same,
    ours,
    raw,
    start,
    theirs,
    variance_preserving,
    velocity,
    widen,
)

from fastdiff.row import COLUMN
from fastdiff.schedules import EDM, DiscreteBetas, RectifiedFlow
from fastdiff.solvers import (
    DDIM,
    DEIS,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMSolver,
    DPMSolverSinglestep,
    SASolver,
    UniPC,
)

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.algorithm_type:FutureWarning"),
]

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
BETAS = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
]
MIN = {"final_sigmas_type": "sigma_min"}
LOWER = {"lower_order_final": True}
every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
every_prediction = pytest.mark.parametrize("prediction", ["eps", "v", "x0"])


def levels_of(scheduler):
    """Its sigmas, noisy first, without a repeated last one."""
    sigmas = scheduler.sigmas.double().numpy()
    return sigmas[:-1] if sigmas[-1] == sigmas[-2] else sigmas


def on_its_levels(scheduler):
    """A schedule that has nothing but the levels of the scheduler, all times on it, and what the
    scheduler tells the model there."""
    levels = levels_of(scheduler)
    positive = levels[levels > 0]
    schedule = DiscreteBetas.from_alphas_cumprod(1 / (1 + positive[::-1] ** 2))
    times = np.arange(len(positive) - 1.0, -1 - (len(levels) > len(positive)), -1)
    told = dict(zip(times, scheduler.timesteps.tolist(), strict=False))
    return schedule, times, told


def compare(
    monkeypatch, name, solver, prediction, steps, *, tolerance=DOUBLE, numbers=None, **config
):
    config = {**BETAS[steps % 2], "prediction_type": NAMES[prediction], **config}
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)  # else it looks for its timesteps, of which two may be the same
    schedule, times, told = on_its_levels(widen(scheduler))
    model = variance_preserving(DiscreteBetas.linear(), prediction)
    stock, draws = theirs(monkeypatch, scheduler, model, start())
    if callable(solver):
        solver = solver(told)
    table = solver.lower(schedule, None, prediction=prediction, grid=times)
    if numbers is not None:
        draws.given = [draws.given[k] for k in numbers(table)]
    assert_same(ours(table, lambda y, t: model(y, told[t]), start(), draws), stock, tolerance)


def of_order(order, kind, algorithm, **options):
    """The solver that a DPMSolverMultistepScheduler is."""
    eta = 1.0 if algorithm.startswith("sde") else 0.0
    if not algorithm.endswith("++"):
        return DPMSolver(order, kind, eta=eta, **options)
    if order == 3:
        return DPMpp3M("published", kind, eta=eta, **options)
    return DPMpp2M(kind, eta=eta, **options) if order == 2 else DDIM(eta)


DPM = "DPMSolverMultistepScheduler"
MULTISTEP = [
    (order, kind, algorithm)
    for algorithm in ("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver")
    for kind in ("midpoint", "heun")
    for order in (1, 2, 3)
    if not (algorithm.startswith("sde") and order == 3) and not (order == 1 and kind == "heun")
]


END = [("zero", True, False), ("sigma_min", True, False), ("sigma_min", False, True)]


@every_steps
@pytest.mark.parametrize(("final", "lower", "euler"), END)
@pytest.mark.parametrize(("order", "kind", "algorithm"), MULTISTEP, ids=label)
def test_dpm_solver(monkeypatch, order, kind, algorithm, final, lower, euler, steps):
    if final == "zero" and not algorithm.endswith("++"):
        pytest.skip("refused")
    options = {"lower_order_final": lower and steps < 15, "euler_at_final": euler}
    compare(
        monkeypatch, DPM, of_order(order, kind, algorithm, **options), "eps", steps,
        tolerance=SINGLE, algorithm_type=algorithm, solver_type=kind, solver_order=order,
        final_sigmas_type=final, lower_order_final=lower, euler_at_final=euler,
    )  # fmt: skip


GRIDS = [
    {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"},
]


@every_steps
@every_prediction
@pytest.mark.parametrize("grid", GRIDS, ids=label)
def test_grids_of_dpm_solver(monkeypatch, grid, prediction, steps):
    solver = DPMpp3M(lower_order_final=steps < 15)
    compare(monkeypatch, DPM, solver, prediction, steps, tolerance=SINGLE, solver_order=3, **grid)


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("order", [2, 3])
def test_a_repeated_last_level(monkeypatch, order, steps):
    solver = of_order(order, "midpoint", "dpmsolver++")
    compare(
        monkeypatch, DPM, solver, "eps", steps, tolerance=SINGLE, solver_order=order,
        use_karras_sigmas=True, lower_order_final=False, **MIN,
    )  # fmt: skip


@every_steps
@pytest.mark.parametrize(("final", "lower"), [("zero", True), *[("sigma_min", b) for b in (0, 1)]])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "dpmsolver", "sde-dpmsolver++"])
@pytest.mark.parametrize("kind", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_singlestep(monkeypatch, order, kind, algorithm, final, lower, steps):
    eta = 1.0 if algorithm.startswith("sde") else 0.0
    if final == "zero" and not algorithm.endswith("++"):
        pytest.skip("refused")
    if eta and order == 3 and kind == "heun":
        pytest.skip("wrong sign")
    lower = bool(lower) or steps % order > 0  # as it does then
    quantity = "x0" if algorithm.endswith("++") else "eps"
    solver = DPMSolverSinglestep(order, kind, quantity, lower, eta=eta)
    compare(
        monkeypatch, "DPMSolverSinglestepScheduler", solver, "v", steps, solver_order=order,
        solver_type=kind, algorithm_type=algorithm, final_sigmas_type=final,
        lower_order_final=lower,
    )  # fmt: skip


@every_steps
@every_prediction
@pytest.mark.parametrize("grid", GRIDS[2:5] + GRIDS[6:], ids=label)
def test_grids_of_singlestep(monkeypatch, grid, prediction, steps):
    solver = DPMSolverSinglestep(3, lower_order_final=True)
    compare(
        monkeypatch, "DPMSolverSinglestepScheduler", solver, prediction, steps, solver_order=3,
        lower_order_final=True, **grid,
    )  # fmt: skip


@every_steps
@every_prediction
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis(monkeypatch, order, lower, prediction, steps):
    solver = DEIS(order, lower_order_final=lower and steps < 15)
    compare(
        monkeypatch, "DEISMultistepScheduler", solver, prediction, steps, solver_order=order,
        lower_order_final=lower, timestep_spacing="trailing",
    )  # fmt: skip


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("grid", GRIDS[2:5], ids=label)
def test_grids_of_deis(monkeypatch, grid, steps):
    compare(
        monkeypatch, "DEISMultistepScheduler", DEIS(3), "eps", steps, solver_order=3,
        lower_order_final=False, **grid,
    )  # fmt: skip


UNIPC = [
    (order, variant, quantity, final, lower)
    for order in (1, 2, 3, 4)
    for variant in ("bh1", "bh2")
    for quantity in ("x0", "eps")
    for final, lower in [("zero", True), ("sigma_min", True), ("sigma_min", False)]
    if final == "sigma_min" or (variant, quantity) == ("bh2", "x0")
]


@every_steps
@pytest.mark.parametrize(("order", "variant", "quantity", "final", "lower"), UNIPC)
def test_unipc(monkeypatch, order, variant, quantity, final, lower, steps):
    solver = UniPC(order, variant, lower, quantity)
    compare(
        monkeypatch, "UniPCMultistepScheduler", solver, "v", steps, solver_order=order,
        solver_type=variant, predict_x0=quantity == "x0", final_sigmas_type=final,
        lower_order_final=lower,
    )  # fmt: skip


@every_steps
@every_prediction
@pytest.mark.parametrize("disabled", [[], [0], [0, 1, 3], [2, 17]])
@pytest.mark.parametrize("grid", GRIDS[:5], ids=label)
def test_grids_of_unipc(monkeypatch, grid, disabled, prediction, steps):
    solver = UniPC(3, "bh2", True, disable_corrector=disabled)
    compare(
        monkeypatch, "UniPCMultistepScheduler", solver, prediction, steps, solver_order=3,
        disable_corrector=disabled, **grid,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("lower", [True, False])
def test_unipc_corrects_where_the_last_level_is_repeated(monkeypatch, lower, steps):
    compare(
        monkeypatch, "UniPCMultistepScheduler", UniPC(2, "bh2", lower, correct_final=True), "eps",
        steps, lower_order_final=lower, use_karras_sigmas=True, **MIN,
    )  # fmt: skip


def drawn_in(table):
    """The steps in which a table draws; SASolver does in all."""
    return np.flatnonzero(table.rows[1:-1, COLUMN["c_z"]])


@every_steps
@pytest.mark.parametrize("tau", [None, 0.0, 0.4, 1.0])
@pytest.mark.parametrize("quantity", ["x0", "eps"])
@pytest.mark.parametrize(("predictor", "corrector"), [(1, 1), (2, 2), (3, 4), (4, 3), (1, 3)])
def test_sa_solver(monkeypatch, predictor, corrector, quantity, tau, steps):
    lower = predictor != corrector

    def solver(told):
        default = (lambda t: 1.0 if 200 <= told[t] <= 800 else 0.0) if tau is None else tau
        return SASolver(predictor, corrector, default, None, quantity, lower)

    options = {} if tau is None else {"tau_func": lambda t: tau}
    name = {"x0": "data_prediction", "eps": "noise_prediction"}[quantity]
    compare(
        monkeypatch, "SASolverScheduler", solver, "v", steps, numbers=drawn_in,
        predictor_order=predictor, corrector_order=corrector, algorithm_type=name,
        lower_order_final=lower, timestep_spacing="trailing", **options,
    )  # fmt: skip


@every_prediction
@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("grid", GRIDS[2:5], ids=label)
def test_sa_solver_corrects_where_the_last_level_is_repeated(monkeypatch, grid, prediction, steps):
    compare(
        monkeypatch, "SASolverScheduler", SASolver(3, 3, 1.0, None, "x0", True, True), prediction,
        steps, numbers=drawn_in, predictor_order=3, corrector_order=3, tau_func=lambda t: 1, **grid,
    )  # fmt: skip


def test_the_interval_of_tau_is_in_the_time_of_the_schedule():
    schedule, grid = DiscreteBetas.linear(), np.array([999.0, 801, 800, 500, 200, 199, 0])
    table = SASolver(interval=(200, 800)).lower(schedule, None, grid=grid)
    assert drawn_in(table).tolist() == [2, 3, 4]


@every_steps
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("sigmas", ["karras", "exponential"])
def test_edm(monkeypatch, sigmas, order, algorithm, steps):
    if order == 3 and algorithm.startswith("sde"):
        pytest.skip("raises")
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        algorithm_type=algorithm, solver_order=order, sigma_schedule=sigmas
    )
    solver = of_order(order, "midpoint", algorithm, lower_order_final=steps < 15)
    preconditioned(monkeypatch, scheduler, solver, EDM(precondition=True), raw, steps)


@every_steps
@pytest.mark.parametrize("kind", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2])
def test_cosine(monkeypatch, order, kind, steps):
    scheduler = without_torchsde(
        monkeypatch, "cosine_dpmsolver_multistep", "CosineDPMSolverMultistepScheduler"
    )(solver_order=order, solver_type=kind)
    schedule = EDM(0.3, 500.0, 1.0, precondition=True)
    solver = DPMpp2MSDE(kind, lower_order_final=steps < 15) if order == 2 else DDIM(1)

    def model(y, noise):  # v, of the time atan(sigma) 2 / pi
        return -raw(y, noise)

    def mine(y, log_sigma):
        return raw(y, np.arctan(np.exp(4 * log_sigma)) / np.pi * 2)

    preconditioned(monkeypatch, scheduler, solver, schedule, mine, steps, model)


def preconditioned(monkeypatch, scheduler, solver, schedule, mine, steps, model=None):
    scheduler.set_timesteps(steps)
    widen(scheduler)
    draws = Draws()
    if hasattr(scheduler, "noise_sampler"):
        scheduler.noise_sampler = lambda *levels: draws(SHAPE)
    levels = scheduler.sigmas.numpy().copy()
    levels[0] = min(levels[0], schedule.sigma_max)
    x = start(float(levels[0]))
    stock, used = theirs(monkeypatch, scheduler, model or mine, x)
    table = solver.lower(schedule, None, prediction="edm", grid=levels)
    assert_same(ours(table, mine, x, used if used.given else draws), stock)


def without_torchsde(monkeypatch, module, name):
    """The class of a scheduler, without the Brownian trees that it would draw from."""
    if importlib.util.find_spec("torchsde") is None:
        monkeypatch.setitem(sys.modules, "torchsde", types.ModuleType("torchsde"))
    return getattr(importlib.import_module(f"diffusers.schedulers.scheduling_{module}"), name)


@every_steps
@pytest.mark.parametrize("order", [1, 2, 3])
def test_flow(monkeypatch, order, steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        solver_order=order, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    scheduler.set_timesteps(steps)
    schedule, times = RectifiedFlow(), widen(scheduler).sigmas.numpy()
    told = dict(zip(times, scheduler.timesteps.tolist(), strict=False))
    stock, draws = theirs(monkeypatch, scheduler, lambda y, t: velocity(y, t / 1000), start())
    solver = of_order(order, "midpoint", "dpmsolver++", lower_order_final=steps < 15)
    table = solver.lower(schedule, None, prediction="flow", grid=times)
    mine = ours(table, lambda y, t: velocity(y, told[float(t)] / 1000), start(), draws)
    assert_same(mine, stock, SINGLE)
