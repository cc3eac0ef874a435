"""The flow-matching, EDM and consistency schedulers of diffusers: the same samples.

Known differences, each with its reason:

* FlowMatchEuler's churn arguments are accepted and ignored there.
* FlowMatchHeun and EDMEuler with churn raise sigma after the model has run, the former without
  scaling the signal down; their noise level is then not the one that the model is told.
* FlowMatchEuler with ``per_token_timesteps`` counts time the other way round for those.
* FlowMatchLCM with ``scale_factors`` changes the size of x0 between steps.
* SCM's default first time 1.5708 lies beyond pi / 2, by 4e-6.
* The schedulers' timesteps are 1000 sigma, or 1 - sigma (MiniMaxH3); fastdiff tells sigma.
"""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import EDM, RectifiedFlow, TrigFlow
from fastdiff.solvers import (
    SCM,
    Consistency,
    EDMHeun,
    Euler,
    EulerAncestralRF,
    FlowEuler,
    FlowHeun,
    FlowLCM,
    FlowMap,
    Heun,
)
from tests.host.stock import (
    DOUBLE,
    SINGLE,
    Draws,
    assert_same,
    ours,
    raw,
    start,
    theirs,
    velocity,
    widen,
)
from tests.support.registered import label

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
FLOW = RectifiedFlow()


def shifted(tau, shift):
    return shift * tau / (1 + (shift - 1) * tau)


def flow(monkeypatch, scheduler, solver, grid, steps, tolerance=SINGLE, unit=1000.0, sign=1):
    def stock_model(y, t):
        return sign * velocity(y, t / unit if unit > 0 else 1 - t)

    x = start()
    stock, draws = theirs(monkeypatch, widen(scheduler), stock_model, x)
    table = solver.lower(FLOW, steps, prediction="flow", grid=grid)
    assert_same(ours(table, velocity, x, draws), stock, tolerance)


# the scheduler's own smallest sigma is shifted twice
STATIC = [(shift, shifted(1e-3, shift)) for shift in (1.0, 3.0, 0.5)]
FAMILIES = {
    "use_karras_sigmas": grids.Karras(),
    "use_exponential_sigmas": grids.Exponential(),
    "use_beta_sigmas": grids.Beta(),
}
FLOWS = [
    *(({"shift": s}, grids.Flow(s, e, parity=True)) for s, e in STATIC),
    (
        {"shift": 3.0, "shift_terminal": 0.1},
        grids.Flow(3.0, STATIC[1][1], 0.1, parity=True),
    ),
    *(
        ({"shift": 2.0, flag: True}, grids.Flow(2.0, shifted(1e-3, 2), None, family, parity=True))
        for flag, family in FAMILIES.items()
    ),
]
SAMPLERS = [
    ("FlowMatchEulerDiscreteScheduler", {}, FlowEuler()),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, FlowLCM()),
    ("FlowMatchLCMScheduler", {}, FlowLCM()),
]


@every_steps
@pytest.mark.parametrize(("name", "extra", "solver"), SAMPLERS, ids=label)
@pytest.mark.parametrize(("config", "grid"), FLOWS, ids=label)
def test_flow_matching(monkeypatch, name, extra, solver, config, grid, steps):
    if steps == 1 and "shift_terminal" in config:
        pytest.skip("NaN: one point cannot be stretched")
    scheduler = getattr(diffusers, name)(**config, **extra)
    scheduler.set_timesteps(steps)
    flow(monkeypatch, scheduler, solver, grid, steps)


@every_steps
@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_dynamic_shift(monkeypatch, kind, steps):
    mu = float(np.log(grids.dynamic_shift(1024)))
    assert mu == pytest.approx(0.5 + 768 * (1.15 - 0.5) / 3840)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, time_shift_type=kind
    )
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
    shift = np.exp(mu) if kind == "exponential" else mu
    flow(monkeypatch, scheduler, FlowEuler(), grids.Flow(shift, parity=True), steps)


@every_steps
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_match_heun(monkeypatch, shift, steps):
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    grid = grids.Flow(shift, shifted(1e-3, shift), parity=True)
    flow(monkeypatch, scheduler, FlowHeun(), grid, steps)


@every_steps
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_map(monkeypatch, shift, steps):
    scheduler = diffusers.FlowMapEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    grid = [shifted(t, shift) for t in np.linspace(1, 0, steps + 1)]
    flow(monkeypatch, scheduler, FlowMap(), grid, steps, DOUBLE)


@every_steps
@pytest.mark.parametrize(("eta", "s_noise"), [(1.0, 1.0), (0.4, 1.0), (0.0, 1.0), (0.7, 0.9)])
def test_ltx_ancestral(monkeypatch, eta, s_noise, steps):
    scheduler = diffusers.LTXEulerAncestralRFScheduler(eta=eta, s_noise=s_noise)
    times = shifted(np.linspace(1, 0, steps + 1), 2.0)
    scheduler.set_timesteps(sigmas=times.tolist())
    grid = np.float32(times).astype(float)
    flow(monkeypatch, scheduler, EulerAncestralRF(eta, s_noise), grid, steps)


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
def test_minimax_h3(monkeypatch, steps):
    from diffusers.schedulers.scheduling_minimax_h3 import MiniMaxH3Scheduler

    scheduler = MiniMaxH3Scheduler(shift=12.0)
    scheduler.set_timesteps(steps)
    grid = scheduler.sigmas.double().numpy()
    flow(monkeypatch, scheduler, FlowEuler(), grid, steps - 1, SINGLE, unit=0, sign=-1)


@every_steps
@pytest.mark.parametrize("family", ["karras", "exponential"])
@pytest.mark.parametrize("sign", [1, -1])
def test_edm_euler(monkeypatch, family, sign, steps):
    """Its "v_prediction" is a network F with the sign turned."""
    scheduler = diffusers.EDMEulerScheduler(
        sigma_schedule=family, prediction_type="epsilon" if sign == 1 else "v_prediction"
    )
    scheduler.set_timesteps(steps)
    x = start(80.0)
    stock, draws = theirs(monkeypatch, widen(scheduler), lambda y, t: sign * raw(y, t), x)
    grid = {"karras": grids.Karras, "exponential": grids.Exponential}[family](parity=True)
    if family == "exponential" and steps == 1:
        grid = [float(np.float32(0.002)), 0]  # its one exponential sigma is the smallest
    table = Euler().lower(EDM(precondition=True), steps, prediction="edm", grid=grid)
    assert_same(ours(table, raw, x, draws), stock, SINGLE)


@every_steps
@pytest.mark.parametrize("clip", [None, 1.0])
def test_consistency_models(monkeypatch, clip, steps):
    if steps == 50:
        steps = 13  # of at most 40
    scheduler = diffusers.CMStochasticIterativeScheduler(clip_denoised=clip is not None)
    scheduler.set_timesteps(steps)
    x = start(80.0)
    stock, draws = theirs(monkeypatch, widen(scheduler), lambda y, t: raw(y, t / 1000), x)
    grid = grids.Thinned(grids.Karras(final="min", parity=True), 39, whole=True)
    table = Consistency(sigma_min=0.002).lower(
        EDM(precondition=True), steps, prediction="consistency", grid=grid, clip=clip
    )
    assert_same(ours(table, raw, x, draws), stock, SINGLE)


@every_steps
def test_scm(monkeypatch, steps):
    scheduler = diffusers.SCMScheduler()
    if steps == 2:
        scheduler.set_timesteps(2, max_timesteps=np.pi / 2)
    else:
        scheduler.set_timesteps(steps, max_timesteps=np.pi / 2, intermediate_timesteps=None)
    times = np.minimum(scheduler.timesteps.double().numpy(), np.pi / 2)
    x = start(0.5)

    def model(y, t):
        return 0.5 * raw(y, t)

    widen(scheduler)  # its last time is no evaluation
    stock, draws = theirs(monkeypatch, scheduler, model, x, scheduler.timesteps[:-1])
    table = SCM().lower(TrigFlow(), steps, prediction="flow", grid=times)
    assert_same(ours(table, model, x, draws), stock, SINGLE)


@pytest.mark.parametrize("steps", [2, 5, 20, 50])
@pytest.mark.parametrize("s_churn", [0.0, 10.0])
def test_karras_ve(monkeypatch, s_churn, steps):
    """Algorithm 2 of EDM, driven by hand; its model gives -eps."""
    from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

    scheduler = KarrasVeScheduler(s_churn=s_churn)
    scheduler.set_timesteps(steps)
    levels = [*scheduler.schedule.double().flip(0).tolist(), 0.0]
    # its sigmas are squares: 100^2 to 0.02^2
    schedule = EDM(sigma_min=levels[-2], sigma_max=levels[0])

    def eps(y, t):
        return t / (1 + t**2) * y + 0.3 * np.sin(y / np.sqrt(1 + t**2)) / (1 + t)

    draws = Draws()
    monkeypatch.setattr("diffusers.schedulers.deprecated.scheduling_karras_ve.randn_tensor", draws)
    x = start(levels[0])
    state, used = x, []
    for sigma, after in zip(levels[:-1], levels[1:], strict=True):
        raised, hat = scheduler.add_noise_to_input(state, sigma)
        if hat > sigma:
            used.append(draws.given[-1])
        step = scheduler.step(-eps(raised, hat), hat, after, raised)
        if after > 0:
            step = scheduler.step_correct(
                -eps(step.prev_sample, after), hat, after, raised, step.prev_sample, step.derivative
            )
        state = step.prev_sample
    draws.given = used
    solver = EDMHeun(s_churn, 0.05, 50.0, 1.007) if s_churn else Heun()
    table = solver.lower(schedule, None, grid=levels)
    assert table.noise_draws == len(used)
    assert_same(ours(table, eps, x, draws), state.numpy(), DOUBLE)
