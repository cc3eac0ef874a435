"""Grids: decreasing, of the right length, from the noisy to the clean end; known spacings."""

import numpy as np
import pytest
import scipy.stats

from fastdiff import grids
from fastdiff.schedules import EDM, VE, DiscreteBetas, LogSNR, RectifiedFlow, VPCosine, VPLinear
from tests.support.registered import SCHEDULES, label

SIGMA_GRIDS = [grids.Karras, grids.Exponential, grids.LogSNR, grids.Beta]
DISCRETE_GRIDS = [grids.Leading, grids.Trailing, grids.Linspace]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_default_grid(schedule, steps):
    times = grids.default(schedule)(schedule, steps)
    assert times.dtype == np.float64 and times.shape == (steps + 1,)
    assert (np.diff(times) < 0).all()
    assert times[0] == schedule.t_max
    assert times[-1] in (schedule.t_clean, schedule.t_min)


@pytest.mark.covered(times=4)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
@pytest.mark.parametrize("make", SIGMA_GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_sigma_grids(make, schedule, steps):
    times = make(final="min")(schedule, steps)
    assert times.shape == (steps + 1,) and (np.diff(times) < 0).all()
    assert times[0] == schedule.t_largest and times[-1] == schedule.t_smallest
    if schedule.t_clean is None:
        with pytest.raises(ValueError, match='final must be "min"'):
            make()(schedule, steps)
        return
    clean = make()(schedule, steps)
    assert clean.shape == (steps + 1,) and clean[-1] == schedule.t_clean
    if steps > 1:
        np.testing.assert_array_equal(clean[:-1], make(final="min")(schedule, steps - 1))


def test_karras_is_equation_5():
    times = grids.Karras()(EDM(), 18)
    i = np.arange(18)
    sigma = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(times[:-1], sigma, rtol=1e-12)
    assert times[-1] == 0


def test_log_snr_is_uniform_in_lam():
    schedule = VPLinear()
    lam = schedule.lam(grids.LogSNR(sigma_min=0.01, sigma_max=20, final="min")(schedule, 10))
    np.testing.assert_allclose(lam, np.linspace(-np.log(20), np.log(100), 11), rtol=1e-11)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (1.0, 1.0), (0.5, 2.0), (3.0, 0.8)])
def test_beta_quantile(a, b):
    p = np.linspace(0, 1, 41)
    expected = scipy.stats.beta.ppf(p, a, b)
    np.testing.assert_allclose(grids.beta_quantile(p, a, b), expected, rtol=1e-10, atol=1e-12)


def test_timesteps():
    schedule = DiscreteBetas.linear()
    assert grids.Leading()(schedule, 4).tolist() == [750, 500, 250, 0, -1]
    assert grids.Leading(steps_offset=1)(schedule, 4).tolist() == [751, 501, 251, 1, -1]
    assert grids.Trailing()(schedule, 4).tolist() == [999, 749, 499, 249, -1]
    assert grids.Linspace()(schedule, 4).tolist() == [999, 666, 333, 0, -1]
    assert grids.Trailing(final="min")(schedule, 2).tolist() == [999, 499, 0]
    assert grids.Trailing()(schedule, 1000).tolist() == list(range(999, -2, -1))


@pytest.mark.parametrize("schedule", [VPCosine(), RectifiedFlow(3.0)], ids=label)
def test_sigma_grids_start_before_pure_noise(schedule):
    assert schedule.alpha(grids.Karras()(schedule, 5)[0]) > 0
    times = grids.LogSNR(sigma_max=1e4)(schedule, 5)
    assert schedule.lam(times[0]) == pytest.approx(-np.log(1e4), abs=1e-9)


@pytest.mark.parametrize("steps", [0, -1, 2.0, "5", True, None])
def test_steps_must_be_a_positive_integer(steps):
    with pytest.raises(ValueError, match=f"steps must be a positive integer, got {steps!r}"):
        grids.Uniform()(VPLinear(), steps)


@pytest.mark.parametrize(
    ("grid", "schedule", "steps", "message"),
    [
        (grids.Explicit([1, 0.5, 0.7]), VPLinear(), 2, r"times\[1\] = 0.5, times\[2\] = 0.7"),
        (grids.Explicit([1.5, 0.5]), VPLinear(), 1, r"must lie in \[0, 1\].*times\[0\] = 1.5"),
        (grids.Explicit([np.nan, 0.5]), VPLinear(), 1, r"times\[0\] = nan"),
        (grids.Explicit([1, 0.5]), VPLinear(), 3, "steps must be 1 for 2 times, got 3"),
        (grids.Explicit([0.5]), VPLinear(), 0, "steps must be a positive integer"),
        (grids.Uniform(start=0.2, end=0.4), VPLinear(), 3, "times must decrease"),
        (grids.Trailing(), VPLinear(), 3, "Trailing: schedule must have discrete timesteps"),
        (grids.Trailing(), DiscreteBetas.linear(10), 11, "steps must be <= 10"),
        (grids.Leading(steps_offset=500), DiscreteBetas.linear(), 2, r"times\[0\] = 1000"),
        (grids.Karras(sigma_max=100), EDM(), 3, r"sigma_max must be in \[0, 80\]"),
        (grids.Karras(sigma_min=0.001), VE(), 3, r"sigma_min must be in \[0.01, 50\]"),
        (grids.Karras(sigma_min=3, sigma_max=2), EDM(), 3, "sigma_min must be < sigma_max = 2"),
        (grids.Exponential(), LogSNR(lambda t: 9 * t - 5), 3, 'final must be "min"'),
    ],
)
def test_errors(grid, schedule, steps, message):
    with pytest.raises(ValueError, match=message):
        grid(schedule, steps)


def test_option_errors():
    with pytest.raises(ValueError, match='Karras: final must be "clean" or "min", got \'zero\''):
        grids.Karras(final="zero")
    with pytest.raises(ValueError, match="Karras: rho must be > 0, got 0"):
        grids.Karras(rho=0)
    with pytest.raises(ValueError, match="Beta: alpha must be > 0"):
        grids.Beta(alpha=-1)
