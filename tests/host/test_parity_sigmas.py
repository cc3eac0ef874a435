"""The schedulers of diffusers in rho = sigma / alpha: the same samples, up to the float32 to which
they cast the state and round their sigmas.

Known differences, each with its reason:

* Churn with v and x0 models: diffusers adds it after the model and reads x0 from the raised state
  with the sigma below (v), or pairs x0 of the one with sigma of the other. ``Euler(late=True)`` is
  the reading of eps models.
* KDPM2 and its ancestral twin round the timesteps of Karras sigmas that they tell the model.
* With "linspace" spacing KDPM2 looks up grid points in linear sigma, midpoints in log sigma; here
  it is one or the other: midpoints are told a timestep that is off by up to 0.04.
* KDPM2Ancestral computes sigma_down as a difference in float32: in one step from 14.6 to 0.03 it is
  off by 1 %.
* Euler with ``timestep_type="continuous"`` tells the model log(sigma) / 4, as ``EDM`` does.
"""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import DiscreteBetas, DiscreteSigmas
from fastdiff.solvers import KDPM2, Euler, EulerAncestral, Heun, KDPM2Ancestral
from tests.host.stock import (
    SINGLE,
    assert_same,
    build,
    ours,
    start,
    theirs,
    variance_preserving,
    widen,
)
from tests.support.registered import label

diffusers = pytest.importorskip("diffusers")
pytestmark = [  # its own, against recent numpy
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:diffusers"),
]

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STEPS = (1, 2, 5, 20, 50)
every_steps = pytest.mark.parametrize("steps", STEPS)
SOLVERS = {
    "EulerDiscreteScheduler": Euler(),
    "EulerAncestralDiscreteScheduler": EulerAncestral(),
    "HeunDiscreteScheduler": Heun(),
    "KDPM2DiscreteScheduler": KDPM2(),
    "KDPM2AncestralDiscreteScheduler": KDPM2Ancestral(),
}
SPACINGS = {
    "linspace": grids.Linspace(rounded=False),
    "leading": grids.Leading(steps_offset=1),
    "trailing": grids.Trailing(),
}
FAMILIES = {
    "use_karras_sigmas": grids.Karras(parity=True),
    "use_exponential_sigmas": grids.Exponential(parity=True),
    "use_beta_sigmas": grids.Beta(parity=True),
}


def compare(
    monkeypatch, name, solver, grid, log, prediction, steps, clip=None, step=(), tolerance=SINGLE,
    **config,
):  # fmt: skip
    config = {**BETAS, "prediction_type": NAMES[prediction], **config}
    scheduler = build(name, steps, **config)
    values = scheduler.alphas_cumprod
    schedule = DiscreteSigmas(((1 - values) / values) ** 0.5, log)
    model = variance_preserving(DiscreteBetas.from_alphas_cumprod(values), prediction)
    x = start(float(scheduler.sigmas[0])).float()
    stock, draws = theirs(monkeypatch, widen(scheduler), model, x, **dict(step))
    table = solver.lower(schedule, steps, prediction=prediction, grid=grid, clip=clip)
    assert_same(ours(table, model, x, draws), stock, tolerance)


def spacings():
    """One linspace step is at t = 0, the clean end; KDPM2 looks up timesteps in two ways there."""
    for name, solver in SOLVERS.items():
        for spacing in SPACINGS:
            for prediction in ("eps", "v", "x0"):
                if prediction == "x0" and ("Ancestral" in name or "KDPM2" in name):
                    continue  # not implemented there
                if spacing == "linspace" and "KDPM2" in name:
                    continue
                for steps in STEPS[spacing == "linspace" :]:
                    yield name, solver, prediction, spacing, steps


@pytest.mark.covered(times=2)
@pytest.mark.parametrize(
    ("name", "solver", "prediction", "spacing", "steps"), list(spacings()), ids=label
)
def test_spacings(monkeypatch, name, solver, prediction, spacing, steps):
    compare(
        monkeypatch, name, solver, SPACINGS[spacing], spacing != "linspace", prediction, steps,
        timestep_spacing=spacing, steps_offset=1 if spacing == "leading" else 0,
    )  # fmt: skip


def families():
    """A family has its ends from the linspace spacing, of which there is one in one step."""
    for name in SOLVERS:
        for family in FAMILIES:
            if name == "EulerAncestralDiscreteScheduler":
                continue  # it has none
            if "KDPM2" in name and "karras" in family:
                continue  # it rounds the model's timesteps
            for steps in STEPS[2:] if "KDPM2A" in name else STEPS[1:]:
                yield name, family, steps


@pytest.mark.covered(times=3)
@pytest.mark.parametrize(("name", "family", "steps"), list(families()))
def test_families(monkeypatch, name, family, steps):
    grid = FAMILIES[family]
    compare(monkeypatch, name, SOLVERS[name], grid, True, "eps", steps, **{family: True})


@every_steps
def test_ending_above_zero(monkeypatch, steps):
    compare(
        monkeypatch, "EulerDiscreteScheduler", Euler(), grids.Trailing(final="min"), False, "eps",
        steps, timestep_spacing="trailing", final_sigmas_type="sigma_min",
    )  # fmt: skip


@every_steps
def test_clipped_heun(monkeypatch, steps):
    compare(
        monkeypatch, "HeunDiscreteScheduler", Heun(), grids.Trailing(), False, "eps", steps, 0.7,
        timestep_spacing="trailing", clip_sample=True, clip_sample_range=0.7,
    )  # fmt: skip


CHURN = {"s_churn": 8.0, "s_tmin": 0.1, "s_tmax": 5.0, "s_noise": 1.02}


@every_steps
def test_churn_after_the_model(monkeypatch, steps):
    compare(
        monkeypatch, "EulerDiscreteScheduler", Euler(**CHURN, late=True), grids.Trailing(), False,
        "eps", steps, step=CHURN, timestep_spacing="trailing",
    )  # fmt: skip


@every_steps
def test_almost_zero_signal(monkeypatch, steps):
    """diffusers stands in 2^-24 for the alpha^2 = 0 of a zero-terminal table: sigma_max = 4096, and
    the state is rounded to float32 there."""
    compare(
        monkeypatch, "EulerDiscreteScheduler", Euler(), grids.Trailing(), False, "v", steps,
        tolerance=4096 * 2.0**-23, timestep_spacing="trailing", rescale_betas_zero_snr=True,
    )  # fmt: skip


def test_beta_tables():
    for mine, config in [
        (DiscreteBetas.linear(), {"beta_schedule": "linear"}),
        (DiscreteBetas.scaled_linear(), BETAS),
        (DiscreteBetas.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    ]:
        values = diffusers.DDPMScheduler(**config).alphas_cumprod
        exact = DiscreteBetas.from_alphas_cumprod(values)
        t = np.arange(1000)
        np.testing.assert_allclose(exact.alpha(t) ** 2, values, rtol=1e-12)
        np.testing.assert_allclose(mine.alpha(t) ** 2, values, rtol=2e-4)
