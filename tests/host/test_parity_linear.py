"""The linear multistep schedulers of diffusers, and DPMSolverSDE: the same samples.

Known differences, each with its reason:

* PNDM steps to t - T // steps, not to its own next timestep: the same only where that is the
  spacing ("linspace" is not). Its half steps are at t - T // steps // 2, the model is told another
  one where T // steps is odd.
* PNDM with v models extrapolates v itself and reads eps off the result.
* PNDM with Runge-Kutta steps refuses fewer than four timesteps, or runs out of them.
* IPNDM starts at alpha = 0, where it takes x0 to be 0 whatever the model says; with other
  ``trained_betas`` it does not.
* DPMSolverSDE looks up grid points of "linspace" in linear sigma, midpoints in log sigma.
"""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import DiscreteBetas, DiscreteSigmas, VarianceExploding, VPCosine
from fastdiff.solvers import IPNDM, LMS, PLMS, DPMppSDE
from tests.host.levels import on_its_levels, without_torchsde
from tests.host.stock import (
    SINGLE,
    Draws,
    assert_same,
    ours,
    start,
    theirs,
    variance_preserving,
    widen,
)

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])


@pytest.mark.covered(times=2)
@every_steps
@pytest.mark.parametrize(
    ("order", "prediction", "config"),
    [
        (4, "eps", {}),
        (4, "v", {"use_karras_sigmas": True}),
        (3, "x0", {"use_exponential_sigmas": True}),
        (2, "eps", {"use_beta_sigmas": True}),
        (1, "v", {"timestep_spacing": "trailing"}),
        (4, "x0", {"timestep_spacing": "leading", "steps_offset": 1}),
    ],
)
def test_lms(monkeypatch, order, prediction, config, steps):
    scheduler = diffusers.LMSDiscreteScheduler(prediction_type=NAMES[prediction], **BETAS, **config)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    schedule, times, told = on_its_levels(widen(scheduler))
    x, model = (
        start(float(scheduler.sigmas[0])),
        variance_preserving(DiscreteBetas.linear(), prediction),
    )
    stock, draws = theirs(monkeypatch, scheduler, model, x, order=order)
    view = VarianceExploding(schedule)
    table = LMS(order).lower(view, None, prediction=prediction, grid=times)
    assert_same(ours(table, lambda y, t: model(y, told[t]), x, draws), stock)


PNDM = [
    ({"skip_prk_steps": True, "steps_offset": 1}, PLMS(), grids.Leading("min", 1)),
    ({"skip_prk_steps": True, "set_alpha_to_one": True}, PLMS(), grids.Leading()),
    ({"skip_prk_steps": True, "timestep_spacing": "trailing"}, PLMS(), None),
    ({"steps_offset": 1}, PLMS("prk"), grids.Leading("min", 1)),
    ({"set_alpha_to_one": True}, PLMS("prk"), grids.Leading()),
    ({"timestep_spacing": "trailing", "set_alpha_to_one": True}, PLMS("prk"), grids.Trailing()),
]


@every_steps
@pytest.mark.parametrize(("config", "solver", "grid"), PNDM)
def test_pndm(monkeypatch, config, solver, grid, steps):
    if solver.warm_up == "prk" and steps < 4:
        pytest.skip("too few for it")
    scheduler = diffusers.PNDMScheduler(**BETAS, **config)
    scheduler.set_timesteps(steps)
    schedule = DiscreteBetas.from_alphas_cumprod(widen(scheduler).alphas_cumprod)
    model, x = variance_preserving(schedule, "eps"), start()
    stock, draws = theirs(monkeypatch, scheduler, model, x)
    if grid is None:
        grid = np.append(grids.Trailing()(schedule, steps)[:-1], 0)
    table = solver.lower(schedule, steps, grid=grid)
    assert table.model_t.tolist() == scheduler.timesteps.tolist()
    assert_same(ours(table, model, x, draws), stock)


@every_steps
def test_ipndm(monkeypatch, steps):
    schedule = VPCosine()
    times = np.linspace(0.97, 0, steps + 1) ** 1.3
    scheduler = diffusers.IPNDMScheduler(trained_betas=schedule.sigma(times).tolist())
    scheduler.set_timesteps(steps)
    model, x = variance_preserving(DiscreteBetas.linear(), "v"), start()
    stock, draws = theirs(monkeypatch, widen(scheduler), model, x)
    table = IPNDM().lower(schedule, None, prediction="v", grid=times)
    told = dict(zip(table.model_t.tolist(), scheduler.timesteps.tolist(), strict=True))
    assert_same(ours(table, lambda y, t: model(y, told[t]), x, draws), stock, SINGLE)


@pytest.mark.covered(times=2)
@every_steps
@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize(
    ("config", "grid"),
    [
        ({"timestep_spacing": "trailing"}, grids.Trailing()),
        ({"timestep_spacing": "leading", "steps_offset": 1}, grids.Leading(steps_offset=1)),
        ({"use_karras_sigmas": True}, grids.Karras(parity=True)),
    ],
)
def test_dpm_solver_sde(monkeypatch, config, grid, prediction, steps):
    if "use_karras_sigmas" in config and steps == 1:
        pytest.skip("a family has its ends from the linspace spacing, of which there is one")
    scheduler = without_torchsde(monkeypatch, "dpmsolver_sde", "DPMSolverSDEScheduler")(
        prediction_type=NAMES[prediction], **BETAS, **config
    )
    scheduler.set_timesteps(steps)
    values = widen(scheduler).alphas_cumprod
    draws = Draws()
    scheduler.noise_sampler = brownian(draws)
    model = variance_preserving(DiscreteBetas.from_alphas_cumprod(values), prediction)
    x = start(float(scheduler.sigmas[0]))
    stock, _ = theirs(monkeypatch, scheduler, model, x)
    schedule = DiscreteSigmas(((1 - values) / values) ** 0.5)
    table = DPMppSDE().lower(schedule, steps, prediction=prediction, grid=grid)
    assert_same(ours(table, model, x, draws), stock, SINGLE)


def brownian(draws):
    """The normalised increments of one path over sigma to middle, sigma to end, ..."""
    path = []  # (sigma, middle, increment)

    def sampler(sigma, to):
        sigma, to, z = float(sigma), float(to), draws(start().shape)
        if path and path[-1][0] == sigma:
            _, middle, first = path.pop()
            total = first + np.sqrt(middle - to) * z
        else:
            total = np.sqrt(sigma - to) * z
            path.append((sigma, to, total))
        return total / np.sqrt(sigma - to)

    return sampler
