"""The grids with a name of their own: known points, parity with float32, walking backwards."""

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.schedules import (
    EDM,
    VE,
    DiscreteBetas,
    DiscreteSigmas,
    LogSNR,
    RectifiedFlow,
    VarianceExploding,
    VPCosine,
    VPLinear,
)
from tests.support.registered import label

SD = DiscreteBetas.scaled_linear()


def rho(schedule, times):
    return np.exp(-schedule.lam(np.asarray(times)))


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
def test_timesteps_of_comfy_ui(steps):
    np.testing.assert_allclose(
        grids.SGMUniform()(SD, steps)[:-1], np.linspace(999, 0, steps + 1)[:-1]
    )
    simple = [999 - int(i * 1000 / steps) for i in range(steps)]
    np.testing.assert_array_equal(grids.Simple()(SD, steps)[:-1], simple)
    normal = np.linspace(999, 0, steps) if steps > 1 else [999]
    np.testing.assert_allclose(grids.Linspace(rounded=False)(SD, steps)[:-1], normal)


@pytest.mark.parametrize("schedule", [DiscreteSigmas.of(SD), VarianceExploding(SD)], ids=label)
def test_timestep_grids_know_every_table(schedule):
    np.testing.assert_array_equal(grids.Trailing()(schedule, 7), grids.Trailing()(SD, 7))
    np.testing.assert_array_equal(grids.default(schedule)(schedule, 7), grids.Trailing()(SD, 7))


def test_thinned_is_the_grid_of_the_distilled():
    lcm = grids.Thinned(grids.Trailing(), 50)
    assert lcm(SD, 4).tolist() == [999, 759, 499, 259, -1]
    assert lcm(SD, 3).tolist() == [999, 679, 339, -1]
    cm = grids.Thinned(grids.Karras(final="min"), 39, whole=True)
    fine = grids.Karras(final="min")(EDM(), 39)
    np.testing.assert_array_equal(cm(EDM(), 3), fine[[0, 13, 26, 39]])
    np.testing.assert_array_equal(cm(EDM(), 1), fine[[0, 39]])
    with pytest.raises(ValueError, match="Thinned: steps must be <= 50, got 51"):
        lcm(SD, 51)


@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_ays_in_ten_steps_is_at_timesteps(model):
    expected = {
        "sd": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24],
        "sdxl": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13],
    }[model]
    assert grids.AYS(model)(SD, 10).tolist() == [*expected, -1]
    assert grids.AYS(model, final="min")(SD, 10).tolist() == [*expected, 0]


def test_ays_interpolates_log_sigma():
    schedule = EDM(sigma_max=700.0)
    ten, twenty = (rho(schedule, grids.AYS("svd", "min")(schedule, n)) for n in (10, 20))
    assert ten[0] == pytest.approx(700) and ten[-1] == pytest.approx(0.002)
    np.testing.assert_allclose(twenty[::2], ten, rtol=1e-12)
    np.testing.assert_allclose(twenty[1::2], np.sqrt(ten[1:] * ten[:-1]), rtol=1e-12)
    assert grids.AYS("svd")(schedule, 1).tolist() == [pytest.approx(700), 0]


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("schedule", [VPLinear(), EDM(), VE(), LogSNR(), SD], ids=label)
def test_quadratic_is_uniform_in_the_root(schedule, steps):
    times = grids.Quadratic()(schedule, steps)
    assert times[0] == schedule.t_max and times[-1] == schedule.t_min
    roots = np.sqrt(times - schedule.t_min)
    np.testing.assert_allclose(np.diff(roots), -roots[0] / steps, rtol=1e-9)


def test_polynomial_in_log_sigma():
    u = np.linspace(1, 0, 6) ** 2
    levels = rho(EDM(), grids.PolyExponential(0.01, 10.0, rho=2.0)(EDM(), 6)[:-1])
    np.testing.assert_allclose(np.log(levels), u * np.log(1000) + np.log(0.01), rtol=1e-12)
    a, b = (grid(EDM(), 6) for grid in (grids.PolyExponential(), grids.Exponential()))
    np.testing.assert_allclose(a, b, rtol=1e-12)


# --- flows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [RectifiedFlow(), RectifiedFlow(3.0), VPCosine()], ids=label)
@pytest.mark.parametrize("shift", [1.0, 3.0, 0.4])
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_shift_is_that_of_tau_on_every_schedule(schedule, shift, steps):
    times = grids.Flow(shift)(schedule, steps)
    u = np.linspace(1, 0, steps + 1)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    np.testing.assert_allclose(
        sigma / (alpha + sigma), shift * u / (1 + (shift - 1) * u), rtol=1e-12, atol=1e-15
    )
    assert times[0] == schedule.t_max and alpha[0] == 0


def test_the_shift_of_a_schedule_is_that_of_a_grid():
    a, b = grids.Uniform()(RectifiedFlow(3.0), 8), grids.Flow(3.0)(RectifiedFlow(3.0), 8)
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("terminal", [0.02, 0.3])
def test_stretching_to_a_terminal(terminal):
    tau = grids.Flow(3.0, end=0.01, terminal=terminal)(RectifiedFlow(), 8)
    plain = grids.Flow(3.0, end=0.01)(RectifiedFlow(), 8)
    assert tau[0] == 1 and tau[-1] == 0 and tau[-2] == pytest.approx(terminal)
    ratio = (1 - tau[1:-1]) / (1 - plain[1:-1])
    np.testing.assert_allclose(ratio, ratio[0])
    assert grids.Flow(terminal=terminal)(RectifiedFlow(), 1).tolist() == [1, 0]


def test_a_family_between_the_ends_of_a_flow():
    tau = grids.Flow(end=0.1, family=grids.Karras(rho=3.0))(RectifiedFlow(), 5)
    root = tau[:-1] ** (1 / 3)
    np.testing.assert_allclose(np.diff(root), (0.1 ** (1 / 3) - 1) / 4, rtol=1e-12)


def test_flows_start_no_earlier_than_the_schedule():
    assert grids.Flow()(VPLinear(), 4)[0] == pytest.approx(1)


def test_dynamic_shift():
    assert grids.dynamic_shift(256) == pytest.approx(np.exp(0.5))
    assert grids.dynamic_shift(4096) == pytest.approx(np.exp(1.15))
    assert grids.dynamic_shift(2048, (1024, 1.0), (3072, 2.0)) == pytest.approx(np.exp(1.5))


# --- parity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "schedule"),
    [
        (grids.Karras, EDM()),
        (grids.Exponential, EDM()),
        (grids.Beta, DiscreteSigmas.of(SD)),
        (grids.PolyExponential, VPLinear()),
        (grids.Flow, RectifiedFlow()),
    ],
    ids=label,
)
def test_parity_rounds_the_levels_to_float32(grid, schedule):
    def inner(parity):
        times = grid(parity=parity)(schedule, 9)[1:-2]
        levels = rho(schedule, times)
        return levels / (1 + levels) if grid is grids.Flow else levels

    exact, rounded = inner(False), inner(True)
    np.testing.assert_allclose(rounded, np.float32(exact).astype(float), rtol=1e-12)
    assert (np.abs(exact / rounded - 1) > 1e-11).any()


# --- backwards --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5])
def test_reversed(steps):
    grid = grids.Reversed(grids.Leading(steps_offset=1))
    assert grid.increasing and not grids.Uniform().increasing
    times = grid(SD, steps)
    np.testing.assert_array_equal(times[::-1], grids.Leading(steps_offset=1)(SD, steps))
    assert grids.Reversed([1, 0.4, 0.1])(VPLinear(), 2).tolist() == [0.1, 0.4, 1]
    assert grids.Reversed(grids.Karras())(VE(), 3)[0] == -np.inf


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grids.AYS("sd3"), ValueError, "AYS: model must be one of 'sd', 'sdxl', 'svd'"),
        (lambda: grids.AYS("svd")(EDM(), 10), ValueError, "must reach sigma / alpha = 700"),
        (lambda: grids.AYS(final="zero"), ValueError, 'final must be "clean" or "min"'),
        (lambda: grids.Flow(0), ValueError, "Flow: shift must be > 0, got 0"),
        (lambda: grids.Flow(end=1.5), ValueError, r"Flow: end must be in \(0, 1\), got 1.5"),
        (lambda: grids.Flow(terminal="a"), TypeError, "terminal must be a real number"),
        (lambda: grids.Flow(family=grids.Uniform()), TypeError, "must be a grid of sigmas"),
        (lambda: grids.Quadratic(0.1, 0.5)(VPLinear(), 3), ValueError, "start > end >= 0"),
        (lambda: grids.Thinned(None, 5), TypeError, "Thinned: grid must be a fastdiff grid"),
        (lambda: grids.PolyExponential(rho=0), ValueError, "rho must be > 0, got 0"),
        (lambda: grids.Simple()(VPLinear(), 3), ValueError, "must have discrete timesteps"),
        (lambda: grids.Flow()(LogSNR(lambda t: 9 * t - 5), 3), ValueError, "no clean end"),
        (lambda: grids.check_times("grid", VPLinear(), [0.1, 0.5, 0.4], True),
         ValueError, r"times must increase, got times\[1\] = 0.5, times\[2\] = 0.4"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
