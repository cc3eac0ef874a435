"""The multistep and singlestep schedulers of diffusers in lam: the same samples. Those that compute
in the dtype of their tables run in float64, to 1e-9; DPMSolverMultistep casts the state to float32.

Known differences, each with its reason:

* "sde-dpmsolver++" of order 3, and of order 3 and kind "heun" singlestep: 1/2 is subtracted where
  it must be added in the weight of x0''; of weak order 1.
* "sde-dpmsolver" of order 3, and "sde-dpmsolver++" of order 3 in EDMDPMSolverMultistep: raise
  UnboundLocalError.
* "heun" and order 3 where two levels are the same (sigma_min and a family, whose last level is
  repeated): NaN.
* In the same place other schedulers take a step of no length, which here is left out. It counts for
  ``lower_order_final``; the predictor-correctors correct there, which is ``correct_final``.
* UniPC "bh1", or of eps, or without ``lower_order_final``, to sigma = 0: NaN.
* DEIS, SASolver: no option to end at sigma = 0; fastdiff can.
* ``rescale_betas_zero_snr`` has alpha = 2^-12 at the end in the place of 0.
"""

import numpy as np
import pytest
from examples import label
from levels import on_its_levels, without_torchsde
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


def mixed(grids):
    """With each another prediction."""
    return [(grid, ("eps", "v", "x0")[k % 3]) for k, grid in enumerate(grids)]


@every_steps
@pytest.mark.parametrize(("grid", "prediction"), mixed(GRIDS), ids=label)
def test_grids_of_dpm_solver(monkeypatch, grid, prediction, steps):
    solver = DPMpp3M(lower_order_final=steps < 15)
    compare(monkeypatch, DPM, solver, prediction, steps, tolerance=SINGLE, solver_order=3, **grid)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_a_repeated_last_level(monkeypatch, steps):
    compare(
        monkeypatch, DPM, DPMpp2M(), "eps", steps, tolerance=SINGLE, use_karras_sigmas=True,
        lower_order_final=False, **MIN,
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
@pytest.mark.parametrize(
    ("grid", "prediction"),
    mixed(GRIDS[2:5] + GRIDS[6:]),
    ids=label,
)
def test_grids_of_singlestep(monkeypatch, grid, prediction, steps):
    solver = DPMSolverSinglestep(3, lower_order_final=True)
    compare(
        monkeypatch, "DPMSolverSinglestepScheduler", solver, prediction, steps, solver_order=3,
        lower_order_final=True, **grid,
    )  # fmt: skip


@every_steps
@pytest.mark.parametrize(
    ("order", "lower", "prediction"),
    [(1, True, "eps"), (2, True, "v"), (2, False, "x0"), (3, True, "x0"), (3, False, "eps")],
)
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
    for variant, quantity in [("bh1", "x0"), ("bh2", "x0"), ("bh1", "eps"), ("bh2", "eps")]
    for order, final, lower in [
        (1, "sigma_min", False),
        (2, "zero", True),
        (2, "sigma_min", False),
        (3, "sigma_min", True),
        (4, "sigma_min", False),
        (4, "zero", True),
    ]
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
@pytest.mark.parametrize(("grid", "prediction"), mixed(GRIDS[:5]), ids=label)
def test_grids_of_unipc(monkeypatch, grid, prediction, steps):
    compare(
        monkeypatch, "UniPCMultistepScheduler", UniPC(3, "bh2", True), prediction, steps,
        solver_order=3, **grid,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("disabled", [[0], [0, 1, 3], [2, 17]], ids=str)
def test_unipc_without_some_correctors(monkeypatch, disabled, steps):
    compare(
        monkeypatch, "UniPCMultistepScheduler", UniPC(2, "bh2", True, disable_corrector=disabled),
        "eps", steps, disable_corrector=disabled,
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
@pytest.mark.parametrize("quantity", ["x0", "eps"])
@pytest.mark.parametrize(
    ("predictor", "corrector", "tau"),
    [(1, 1, 0.4), (2, 2, None), (2, 2, 1.0), (3, 4, 1.0), (4, 3, None), (1, 3, 0.0)],
)
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
        lower_order_final=lower, timestep_spacing="trailing", tolerance=1e-8, **options,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize(("grid", "prediction"), mixed(GRIDS[2:5]), ids=label)
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
@pytest.mark.parametrize(
    ("order", "algorithm"),
    [(1, "dpmsolver++"), (2, "sde-dpmsolver++"), (3, "dpmsolver++")],
)
@pytest.mark.parametrize("sigmas", ["karras", "exponential"])
def test_edm(monkeypatch, sigmas, order, algorithm, steps):
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        algorithm_type=algorithm, solver_order=order, sigma_schedule=sigmas
    )
    solver = of_order(order, "midpoint", algorithm, lower_order_final=steps < 15)
    preconditioned(monkeypatch, scheduler, solver, 0.5, raw, steps)


@every_steps
@pytest.mark.parametrize("kind", ["midpoint", "heun"])
def test_cosine(monkeypatch, kind, steps):
    scheduler = without_torchsde(
        monkeypatch, "cosine_dpmsolver_multistep", "CosineDPMSolverMultistepScheduler"
    )(solver_type=kind)
    solver = DPMpp2MSDE(kind, lower_order_final=steps < 15)
    preconditioned(monkeypatch, scheduler, solver, 1.0, lambda y, t: -raw(y, t), steps, sign=-1)


def preconditioned(monkeypatch, scheduler, solver, sigma_data, network, steps, sign=1):
    """``sign`` -1: of a network for v, which is that of EDM the other way round."""
    scheduler.set_timesteps(steps)
    levels = widen(scheduler).sigmas.numpy()
    schedule = EDM(levels[0] / 2, levels[0], sigma_data, precondition=True)
    table = solver.lower(schedule, None, prediction="edm", grid=levels)
    told = dict(zip(table.model_t.tolist(), scheduler.timesteps.tolist(), strict=True))
    draws, x = Draws(), start(levels[0])
    if hasattr(scheduler, "noise_sampler"):
        scheduler.noise_sampler = lambda *levels: draws(SHAPE)
    stock, used = theirs(monkeypatch, scheduler, network, x)
    mine = ours(table, lambda y, t: sign * network(y, told[t]), x, used if used.given else draws)
    assert_same(mine, stock)


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
