"""Adaptive solvers: exact flows, scipy's and the published step control, lone samples."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from fastdiff import grids, sample, schedules, solvers
from fastdiff.likelihood import log_likelihood
from fastdiff.parameterization import exact_output
from fastdiff.sampling import RK45, DPMAdaptive, sample_adaptive
from fastdiff.sampling.inverse import Inverse
from fastdiff.sampling.velocity import velocity
from tests.support.oracles import GaussianData, Mixture
from tests.support.registered import SCHEDULES, label

PROBLEM, SCHEDULE = Mixture(), schedules.LogSNR((-5.0, 2.0))
ENDS = tuple((float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t))) for t in (1.0, 0.0))
EXACT = PROBLEM.flow(PROBLEM.points, *ENDS)
EPS = PROBLEM.eps_model(SCHEDULE)


def run(solver, x=PROBLEM.points, **options):
    return sample_adaptive(EPS, x, SCHEDULE, solver, **{"start": 1.0, "end": 0.0, **options})


@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-8])
def test_rk45_is_scipys(tol):
    """All points as one sample: the steps of solve_ivp, and the error its tolerance promises."""
    x = PROBLEM.points.reshape(1, 5, 1)

    def wide(x, t):
        return EPS(x.reshape(5, 1), t.expand(5)).reshape(1, 5, 1)

    solution = sample_adaptive(wide, x, SCHEDULE, RK45(tol, tol), start=1.0, end=0.0)
    f = velocity(EPS, SCHEDULE, "eps", (1.0, 0.0), "cpu")

    def plain(t, y):
        y = torch.tensor(y).reshape(5, 1)
        return f(torch.full((5,), t, dtype=torch.float64), y).flatten().numpy()

    expected = solve_ivp(plain, (-1.0, 2.5), x.flatten().numpy(), rtol=tol, atol=tol)
    assert solution.nfe.item() == expected.nfev
    np.testing.assert_allclose(solution.x.flatten(), expected.y[:, -1], rtol=1e-12)
    assert (solution.x.flatten() - EXACT.flatten()).abs().max() < 10 * tol


@pytest.mark.parametrize(
    ("order", "tolerances"), [(2, (1e-2, 1e-3, 1e-4)), (3, (1e-2, 1e-3, 1e-4, 1e-5))]
)
def test_errors_fall_with_the_tolerance(order, tolerances):
    def error(tol):
        return (run(DPMAdaptive(order, rtol=tol, atol=tol)).x - EXACT).abs().max().item()

    errors = [error(tol) for tol in tolerances]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 3 * tolerances[-1]


@pytest.mark.parametrize("solver", [RK45(1e-6, 1e-6), DPMAdaptive(rtol=1e-3, atol=1e-3)])
def test_a_sample_takes_the_steps_it_would_take_alone(solver):
    together = run(solver)
    for b in range(5):
        alone = run(solver, PROBLEM.points[b : b + 1])
        torch.testing.assert_close(alone.x, together.x[b : b + 1], rtol=1e-13, atol=1e-13)
        assert alone.nfe == together.nfe[b] and alone.rejected == together.rejected[b]
    assert len(set(together.nfe.tolist())) > 1


def reference_dpm_adaptive(x, order, rtol, atol, h_init=0.05, pid=(0.0, 1.0, 0.0), safety=0.81):
    """One number, one step after the other: DPM-Solver-12/23 in y = x / alpha against lam."""

    def eps(y, lam):
        t = float(SCHEDULE.t_of_lam(lam))
        x = torch.tensor([[y * float(SCHEDULE.alpha(t))]], dtype=torch.float64)
        return EPS(x, torch.tensor([t], dtype=torch.float64)).item()

    lam, end, h = -1.0, 2.5, h_init
    y = low_before = x / float(SCHEDULE.alpha(1.0))
    errors, accepted, rejected = None, 0, 0
    while lam < end - 1e-5:
        t = min(end, lam + h)
        g, e = t - lam, eps(y, lam)
        rho = math.exp(-t)
        first = y - rho * math.expm1(g) * e

        def second(r, y=y, e=e, g=g, t=t, lam=lam, rho=rho, first=first):
            u = y - math.exp(-lam - r * g) * math.expm1(r * g) * e
            return first - rho / (2 * r) * math.expm1(g) * (eps(u, lam + r * g) - e)

        if order == 2:
            low, high = first, second(1 / 2)
        else:
            r1, r2 = 1 / 3, 2 / 3
            low = second(r1)
            u1 = y - math.exp(-lam - r1 * g) * math.expm1(r1 * g) * e
            d1 = eps(u1, lam + r1 * g) - e
            u2 = y - math.exp(-lam - r2 * g) * (
                math.expm1(r2 * g) * e + r2 / r1 * (math.expm1(r2 * g) / (r2 * g) - 1) * d1
            )
            d2 = eps(u2, lam + r2 * g) - e
            high = first - rho / r2 * (math.expm1(g) / g - 1) * d2
        inverse = 1 / (abs(low - high) / max(atol, rtol * max(abs(low), abs(low_before))) + 1e-8)
        errors = errors or [inverse] * 3
        errors[0] = inverse
        p, i, d = pid
        powers = ((p + i + d) / order, -(p + 2 * d) / order, d / order)
        factor = math.prod(v**b for v, b in zip(errors, powers, strict=True))
        factor = 1 + math.atan(factor - 1)
        if factor >= safety:
            errors[1:] = errors[:2]
            low_before, y, lam, accepted = low, high, t, accepted + 1
        else:
            rejected += 1
        h *= factor
    return y * float(SCHEDULE.alpha(0.0)), accepted, rejected


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("pid", [(0.0, 1.0, 0.0), (0.3, 0.7, 0.1)])
@pytest.mark.parametrize("h_init", [0.05, 3.0])
def test_dpm_adaptive_step_by_step(order, pid, h_init):
    p, i, d = pid
    solver = DPMAdaptive(order, 1e-2, 1e-3, h_init, p, i, d)
    solution = run(solver)
    for b, x in enumerate(PROBLEM.points.flatten().tolist()):
        y, accepted, rejected = reference_dpm_adaptive(x, order, 1e-2, 1e-3, h_init, pid)
        assert solution.x[b].item() == pytest.approx(y, rel=1e-11)
        assert solution.rejected[b] == rejected
        assert solution.nfe[b] == order * (accepted + rejected)
    assert solution.rejected.any()


ZERO = schedules.DiscreteBetas.scaled_linear().zero_terminal()


@pytest.mark.parametrize(
    ("order", "solver"),
    [
        (2, solvers.DPMSolverSinglestep(2, "midpoint", "eps")),
        (3, solvers.DPMSolverSinglestep(3, "paper", "eps")),
    ],
)
def test_a_step_is_that_of_the_table(order, solver):
    """The whole range at once, where any error will do."""
    adaptive = run(DPMAdaptive(order, rtol=1e9, atol=1e9, h_init=3.5))
    table = solver.lower(SCHEDULE, order, grid=grids.Uniform())
    assert adaptive.nfe.tolist() == [table.nfe] * 5
    expected = sample(EPS, PROBLEM.points, table)
    torch.testing.assert_close(adaptive.x, expected, rtol=1e-12, atol=1e-12)


DATA = GaussianData(mean=0.4, c=0.3)


@pytest.mark.parametrize("solver", [RK45(1e-6, 1e-6), DPMAdaptive(rtol=1e-5, atol=1e-6)])
@pytest.mark.parametrize(
    "schedule",
    [
        schedules.VPLinear(),
        schedules.SubVP(),
        schedules.VE(sigma_max=10.0),
        schedules.EDM(sigma_max=10.0),
        schedules.RectifiedFlow(),
        schedules.DiscreteBetas.linear(),
        ZERO,
    ],
    ids=label,
)
def test_every_schedule_follows_the_flow_of_gaussian_data(solver, schedule):
    start, end = schedule.t_largest, schedule.t_smallest
    levels = [(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in (start, end)]
    x = levels[0][1] * torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3)
    solution = sample_adaptive(DATA.eps_model(schedule), x, schedule, solver)
    torch.testing.assert_close(solution.x, DATA.flow(x, *levels), rtol=2e-4, atol=2e-4)


@pytest.mark.covered(times=1)
@pytest.mark.parametrize("solver", [RK45(1e-6, 1e-6), DPMAdaptive(rtol=1e-3, atol=1e-3)])
@pytest.mark.parametrize("prediction", ["x0", "v", "score", "flow"])
def test_every_prediction_gives_the_same_samples(solver, prediction):
    def model(x, t):
        eps = EPS(x, t)
        alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
        a, b = (v[:, None] for v in exact_output(prediction, SCHEDULE, t))
        return a * (x - sigma * eps) / alpha + b * eps

    options = {"start": 1.0, "end": 0.0, "prediction": prediction}
    solution = sample_adaptive(model, PROBLEM.points, SCHEDULE, solver, **options)
    torch.testing.assert_close(solution.x, run(solver).x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [
        *((schedules.RectifiedFlow(), prediction) for prediction in ("flow", "v", "x0")),
        (schedules.VPCosine(), "v"),
        (schedules.TrigFlow(), "flow"),
    ],
    ids=label,
)
def test_pure_noise_and_back(schedule, prediction):
    """As flow models are integrated, from t = 1, where lam is infinite but the slope is not."""

    def model(x, t):
        alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        a, b = (v[:, None] for v in exact_output(prediction, schedule, t))
        return a * DATA.x0_hat(x, alpha, sigma) + b * DATA.eps_hat(x, alpha, sigma)

    ends = {"start": schedule.t_max, "end": schedule.t_smallest}
    levels = [(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in ends.values()]
    noise = levels[0][1] * torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(3, 2)
    options, solver = {"prediction": prediction, **ends}, RK45(1e-8, 1e-8)
    data = sample_adaptive(model, noise, schedule, solver, **options).x
    torch.testing.assert_close(data, DATA.flow(noise, *levels), rtol=1e-6, atol=1e-6)
    options |= {"start": ends["end"], "end": ends["start"]}
    back = sample_adaptive(model, data, schedule, solver, **options).x
    torch.testing.assert_close(back, noise, rtol=1e-6, atol=1e-6)
    found = log_likelihood(model, data, schedule, solver=solver, **options)
    expected = DATA.log_prob(data, *levels[1]) - DATA.log_prob(noise, *levels[0])
    prior = torch.distributions.Normal(0.0, levels[0][1]).log_prob(noise).sum(1)
    torch.testing.assert_close(found.log_prob - prior, expected, rtol=0, atol=1e-6)


def refuse(solver, schedule, **options):
    sample_adaptive(EPS, PROBLEM.points, schedule, solver, start=schedule.t_max, **options)


def test_to_noise_and_back():
    solver = RK45(1e-9, 1e-9)
    there = run(solver, start=0.0, end=1.0)
    back = run(solver, there.x)
    torch.testing.assert_close(back.x, PROBLEM.points, rtol=0, atol=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_inverse_of_lam_on_tensors(schedule):
    if getattr(schedule, "gamma", None) is not None and callable(schedule.gamma):
        schedule = schedules.LogSNR(lambda t: -10 + 14 * t + t**3)
    ends = (schedule.t_largest, schedule.t_smallest)
    lam = torch.linspace(*(float(schedule.lam(t)) for t in ends), 333, dtype=torch.float64)
    t = Inverse(schedule, ends, "cpu")(lam)
    torch.testing.assert_close(schedule.lam(t), lam, rtol=1e-11, atol=1e-11)


def test_ancestral_steps():
    """eta = 1 on Gaussian data: first order, so the variance approaches its value slowly."""
    n, (alpha, sigma), (a, s) = 8_000, *ENDS
    rng, model = torch.Generator().manual_seed(0), DATA.eps_model(SCHEDULE)
    x = torch.randn((n, 1), generator=rng, dtype=torch.float64)
    x = alpha * DATA.mean + (alpha**2 * DATA.c + sigma**2) ** 0.5 * x
    target, options = a**2 * DATA.c + s**2, {"start": 1.0, "end": 0.0}

    def draw(tol, x=x, seeds=5, eta=1.0):
        solver = DPMAdaptive(rtol=tol, atol=tol / 10, eta=eta)
        return sample_adaptive(model, x, SCHEDULE, solver, seeds=seeds, **options).x

    drawn = [draw(tol) for tol in (1e-2, 1e-3, 3e-4)]
    errors = [abs(samples.var().item() / target - 1) for samples in drawn]
    assert errors[1] < 0.7 * errors[0] and errors[2] < 0.06  # three standard errors are 0.047
    part = draw(1e-2, x[7:9], seeds=12)  # seeds 5 + 7, 5 + 8
    torch.testing.assert_close(part, drawn[0][7:9], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(draw(1e-2, x[7:9], eta=0.0), part, atol=1e-2)


def test_float32_and_model_arguments():
    def model(x, t, shift):
        assert x.dtype == t.dtype == torch.float32
        return EPS(x.double() - shift, t.double()).to(torch.bfloat16)

    for solver in (RK45(1e-3, 1e-3), DPMAdaptive()):
        solution = sample_adaptive(
            model, PROBLEM.points.float(), SCHEDULE, solver, start=1.0, end=0.0, cond={"shift": 0.0}
        )
        assert solution.x.dtype == torch.float32
        torch.testing.assert_close(solution.x.double(), EXACT, rtol=0, atol=0.05)


def test_what_cannot_be_solved_says_so():
    def broken(x, t):
        return torch.where(t[:, None] < 0.5, torch.nan, EPS(x, t))

    for solver in (RK45(), DPMAdaptive()):
        with pytest.raises(
            FloatingPointError, match="step size of sample [0-4] collapsed at lam = "
        ):
            sample_adaptive(broken, PROBLEM.points, SCHEDULE, solver, start=1.0, end=0.0)
    for solver in (RK45(1e-8, 1e-8, max_steps=3), DPMAdaptive(max_steps=3)):
        with pytest.raises(RuntimeError, match="max_steps: not every sample arrived within 3"):
            run(solver)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RK45(rtol=0), ValueError, "rtol: expected a finite number > 0, got 0"),
        (lambda: DPMAdaptive(4), ValueError, "order: expected an integer in .2, 3., got 4"),
        (lambda: DPMAdaptive(eta=-1), ValueError, "eta: expected a finite number >= 0, got -1"),
        (lambda: run(DPMAdaptive(), start=0.0, end=1.0), ValueError, "end: expected a time before"),
        (
            lambda: refuse(DPMAdaptive(), schedules.RectifiedFlow(), prediction="flow"),
            ValueError,
            "start: DPMAdaptive steps in lam, .* expected a time up to 0.999, got 1",
        ),
        (lambda: refuse(RK45(), schedules.VPCosine()), ValueError, '"eps" is undefined at alpha'),
        (
            lambda: refuse(RK45(), ZERO, prediction="v"),
            ValueError,
            "no finite slope at t = 999, pure noise; expected a time up to 998",
        ),
        (
            lambda: refuse(RK45(), schedules.VarianceExploding(ZERO), prediction="v"),
            ValueError,
            "no finite slope at t = 999",
        ),
        (lambda: run(RK45(), end=-0.5), ValueError, r"end: expected a time in \[0, 1\]"),
        (lambda: run(RK45(), x=torch.zeros(3).long()), TypeError, "x: expected a float32"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
