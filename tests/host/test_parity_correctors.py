"""UniPC and SASolver of diffusers in float64: the same samples.

Known differences, each with its reason:

* UniPC "bh1", or of eps, or without ``lower_order_final``, to sigma = 0: NaN.
* UniPC with another scheduler as its predictor (``solver_p``): no table.
* SASolver: no option to end at sigma = 0; fastdiff can.
* Where the last level is repeated (sigma_min and a family) the last point is corrected: that is
  ``correct_final`` without the repeated level.
"""

import numpy as np
import pytest

from fastdiff.row import COLUMN
from fastdiff.schedules import DiscreteBetas
from fastdiff.solvers import SASolver, UniPC
from tests.host.levels import GRIDS, compare, mixed
from tests.support.registered import label

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])

UNIPC = [
    (order, variant, target, final, lower)
    for variant, target in [("bh1", "x0"), ("bh2", "x0"), ("bh1", "eps"), ("bh2", "eps")]
    for order, final, lower in [
        (1, "sigma_min", False),
        (2, "zero", True),
        (2, "sigma_min", False),
        (3, "sigma_min", True),
        (4, "sigma_min", False),
        (4, "zero", True),
    ]
    if final == "sigma_min" or (variant, target) == ("bh2", "x0")
]


@pytest.mark.covered(times=7)
@every_steps
@pytest.mark.parametrize(("order", "variant", "target", "final", "lower"), UNIPC)
def test_unipc(monkeypatch, order, variant, target, final, lower, steps):
    solver = UniPC(order, variant, lower, target)
    compare(
        monkeypatch, "UniPCMultistepScheduler", solver, "v", steps, solver_order=order,
        solver_type=variant, predict_x0=target == "x0", final_sigmas_type=final,
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
        steps, lower_order_final=lower, use_karras_sigmas=True, final_sigmas_type="sigma_min",
    )  # fmt: skip


def drawn_in(table):
    """The steps in which a table draws; SASolver does in all."""
    return np.flatnonzero(table.rows[1:-1, COLUMN["c_z"]])


@every_steps
@pytest.mark.parametrize("target", ["x0", "eps"])
@pytest.mark.parametrize(
    ("predictor", "corrector", "tau"),
    [(1, 1, 0.4), (2, 2, None), (2, 2, 1.0), (3, 4, 1.0), (4, 3, None), (1, 3, 0.0)],
)
def test_sa_solver(monkeypatch, predictor, corrector, target, tau, steps):
    lower = predictor != corrector

    def solver(told):
        default = (lambda t: 1.0 if 200 <= told[t] <= 800 else 0.0) if tau is None else tau
        return SASolver(predictor, corrector, default, None, target, lower)

    options = {} if tau is None else {"tau_func": lambda t: tau}
    name = {"x0": "data_prediction", "eps": "noise_prediction"}[target]
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
