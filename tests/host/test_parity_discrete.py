"""The first-order schedulers of diffusers on discrete timesteps: the same samples.

Known differences, each with its reason:

* DDIM with "linspace" spacing: it steps to t - T // steps, which is not its own next timestep.
* DDIM with ``set_alpha_to_one=False`` and "leading" spacing without offset: its last step goes from
  t = 0 to t = 0.
* DDPM adds noise of the last step to clean data with "fixed_large" and a spacing that does not
  end at t = 0; with "fixed_small" it is 1e-10. fastdiff adds none.
* DDPM with "fixed_large_log": the square root of a logarithm, NaN.
* The parallel classes' ``batch_step_no_noise`` is an approximation of the loop, not a sampler.
* Wuerstchen ends at alpha^2 = 0.9999 without noise, fastdiff at clean data of that level.
"""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import EDM, DiscreteBetas, LogSNR
from fastdiff.solvers import DDIM, DDPM, LCM, TCD, Consistency, DDIMInverse
from tests.host.stock import (
    DOUBLE,
    SINGLE,
    assert_same,
    ours,
    raw,
    start,
    theirs,
    variance_preserving,
    widen,
)
from tests.support.registered import label

diffusers = pytest.importorskip("diffusers")

NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
BETAS = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
]
every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])


def make(name, prediction, steps, **config):
    """A scheduler with its timesteps set, and its table."""
    scheduler = getattr(diffusers, name)(prediction_type=NAMES[prediction], **config)
    scheduler.set_timesteps(steps)
    widen(scheduler)
    return scheduler, DiscreteBetas.from_alphas_cumprod(scheduler.alphas_cumprod)


def spacing(scheduler, final="clean"):
    config = scheduler.config
    if config.timestep_spacing == "leading":
        return grids.Leading(final, config.steps_offset)
    return {"trailing": grids.Trailing, "linspace": grids.Linspace}[config.timestep_spacing](final)


def compare(
    monkeypatch,
    scheduler,
    schedule,
    solver,
    prediction,
    steps,
    grid,
    clip=None,
    *,
    tolerance=DOUBLE,
    **step,
):
    model, x = variance_preserving(schedule, prediction), start()
    stock, draws = theirs(monkeypatch, scheduler, model, x, **step)
    table = solver.lower(schedule, steps, prediction=prediction, grid=grid, clip=clip)
    assert_same(ours(table, model, x, draws), stock, tolerance)


DDIM_CASES = [
    ({"timestep_spacing": "leading", "clip_sample": False}, {}, DDIM(), None),
    ({"timestep_spacing": "trailing", "clip_sample": False}, {"eta": 1.0}, DDIM(1), None),
    ({"timestep_spacing": "trailing", "clip_sample": False}, {"eta": 0.6}, DDIM(0.6), None),
    ({"steps_offset": 1, "clip_sample": True}, {}, DDIM(keep_eps=True), 1.0),
    (
        {"timestep_spacing": "trailing", "clip_sample_range": 0.7},
        {"use_clipped_model_output": True, "eta": 0.3},
        DDIM(0.3),
        0.7,
    ),
    ({"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}, {}, DDIM(), None),
]


@pytest.mark.covered(times=6)
@every_steps
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("name", ["DDIMScheduler", "DDIMParallelScheduler"])
@pytest.mark.parametrize(("config", "step", "solver", "clip"), DDIM_CASES, ids=label)
def test_ddim(monkeypatch, name, config, step, solver, clip, prediction, steps):
    betas = BETAS[steps % 3]
    scheduler, schedule = make(name, prediction, steps, **betas, **config)
    final = "clean" if config.get("set_alpha_to_one", True) else "min"
    compare(
        monkeypatch, scheduler, schedule, solver, prediction, steps, spacing(scheduler, final),
        clip, **step,
    )  # fmt: skip


@every_steps
@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim_from_zero_signal(monkeypatch, eta, steps):
    scheduler, schedule = make(
        "DDIMScheduler", "v", steps, timestep_spacing="trailing", clip_sample=False,
        rescale_betas_zero_snr=True, **BETAS[1],
    )  # fmt: skip
    assert schedule.alpha(schedule.t_max) == 0
    grid = grids.Trailing()
    compare(monkeypatch, scheduler, schedule, DDIM(eta), "v", steps, grid, eta=eta)


@every_steps
@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("space", ["leading", "trailing"])
def test_ddim_inverse(monkeypatch, space, prediction, steps):
    """Not for x0 models: the x0 of clean data does not tell eps (diffusers divides by zero)."""
    scheduler, schedule = make(
        "DDIMInverseScheduler", prediction, steps, timestep_spacing=space, clip_sample=False,
        steps_offset=1 if space == "leading" else 0, **BETAS[1],
    )  # fmt: skip
    solver = DDIMInverse()
    compare(monkeypatch, scheduler, schedule, solver, prediction, steps, spacing(scheduler))


@every_steps
@pytest.mark.parametrize(("prediction", "zero"), [("eps", False), ("v", False), ("v", True)])
def test_cogvideox_ddim(monkeypatch, prediction, zero, steps):
    scheduler, schedule = make(
        "CogVideoXDDIMScheduler", prediction, steps, timestep_spacing="trailing",
        rescale_betas_zero_snr=zero,
    )  # fmt: skip
    assert (schedule.alpha(schedule.t_max) == 0) == zero
    compare(monkeypatch, scheduler, schedule, DDIM(), prediction, steps, grids.Trailing())


DDPM_CASES = [
    ({"clip_sample": False}, "fixed_small", None),
    ({"clip_sample": False}, "fixed_small_log", None),
    ({"clip_sample": False}, "fixed_large", None),
    ({"clip_sample": True, "clip_sample_range": 0.8}, "fixed_small", 0.8),
    ({"clip_sample": False, "timestep_spacing": "linspace"}, "fixed_small", None),
    ({"clip_sample": False, "timestep_spacing": "trailing"}, "fixed_small", None),
]


@pytest.mark.covered(times=6)
@every_steps
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDPMParallelScheduler"])
@pytest.mark.parametrize(("config", "variance", "clip"), DDPM_CASES, ids=label)
def test_ddpm(monkeypatch, name, config, variance, clip, prediction, steps):
    if config.get("timestep_spacing") == "linspace" and steps == 1:
        pytest.skip("its one linspace step is at t = 0, the clean end")
    betas = BETAS[steps % 3]
    scheduler, schedule = make(name, prediction, steps, variance_type=variance, **betas, **config)
    solver = DDPM(variance)
    compare(monkeypatch, scheduler, schedule, solver, prediction, steps, spacing(scheduler), clip)


@every_steps
@pytest.mark.parametrize("s", [0.008, 0.02])
def test_wuerstchen(monkeypatch, s, steps):
    scheduler = widen(diffusers.DDPMWuerstchenScheduler(s=s))
    scheduler.set_timesteps(steps)
    scheduler.timesteps = scheduler.timesteps.double()

    def gamma(t):
        level = np.cos((t + float(scheduler.s)) / (1 + float(scheduler.s)) * np.pi / 2) ** 2
        level = np.clip(level / float(scheduler._init_alpha_cumprod), 1e-4, 0.9999)
        return np.log1p(-level) - np.log(level)

    schedule = LogSNR(gamma)
    model, x = variance_preserving(schedule, "eps"), start()
    table = DDPM().lower(schedule, None, grid=scheduler.timesteps.numpy())
    levels = scheduler.timesteps
    scheduler.timesteps = levels[:-1, None]  # one to a sample; the last is only an end
    monkeypatch.setattr(
        scheduler, "previous_timestep", lambda t: levels[(levels == t[0]).nonzero()[0] + 1]
    )
    stock, draws = theirs(monkeypatch, scheduler, model, x)
    without = ours(table, model, x, draws) - table.rows[-2, COLUMN["c_z"]] * draws.number(steps)
    assert_same(without, stock)


@every_steps
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("clip", [None, 0.8])
def test_lcm(monkeypatch, clip, prediction, steps):
    config = {} if clip is None else {"clip_sample": True, "clip_sample_range": clip}
    scheduler, schedule = make("LCMScheduler", prediction, steps, **config)
    grid = grids.Thinned(grids.Trailing(), 50)
    solver = LCM()  # whose c_skip the scheduler computes in float32
    compare(
        monkeypatch, scheduler, schedule, solver, prediction, steps, grid, clip, tolerance=SINGLE
    )


@every_steps
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_tcd(monkeypatch, gamma, prediction, steps):
    scheduler, schedule = make("TCDScheduler", prediction, steps)
    grid = grids.Thinned(grids.Trailing(final="min"), 50)
    compare(monkeypatch, scheduler, schedule, TCD(gamma), prediction, steps, grid, eta=gamma)


def test_consistency_decoder(monkeypatch):
    """EDM's preconditioning around x / alpha of a table; the state is that, not x."""
    from diffusers.schedulers import ConsistencyDecoderScheduler

    scheduler = ConsistencyDecoderScheduler()
    scheduler.set_timesteps(2)
    widen(scheduler)
    alpha, sigma = scheduler.sqrt_alphas_cumprod, scheduler.sqrt_one_minus_alphas_cumprod
    rho = {t: float(sigma[t] / alpha[t]) for t in (1008, 512)}
    stock, draws = theirs(monkeypatch, scheduler, lambda y, t: raw(y, t / 500), start())
    table = Consistency().lower(
        EDM(sigma_max=1e9, precondition=True), None, prediction="edm", grid=[*rho.values(), 0]
    )
    times = {float(np.log(value)) / 4: t for t, value in rho.items()}
    mine = ours(table, lambda y, t: raw(y, times[t] / 500), start() / alpha[1008], draws)
    assert_same(mine, stock, SINGLE)  # c_skip and c_out are made in float32
