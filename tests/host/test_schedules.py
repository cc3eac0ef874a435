"""Schedules: inverses, ends, derivatives, and the same numbers from numpy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import schedules
from fastdiff.schedules import (
    EDM,
    VE,
    DiscreteBetas,
    DiscreteSigmas,
    LogSNR,
    RectifiedFlow,
    SubVP,
    TrigFlow,
    VarianceExploding,
    VPCosine,
    VPLinear,
)
from tests.support.registered import SCHEDULES, few, label

UNIT = st.floats(0, 1, exclude_min=True, exclude_max=True)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=label)


def inside(schedule, u):
    return schedule.t_min + u * (schedule.t_max - schedule.t_min)


def test_every_schedule_of_the_registry_is_tested():
    assert {type(schedule).__name__ for schedule in SCHEDULES} == set(schedules.names())


@every_schedule
@few
@given(u=UNIT)
def test_t_of_lam_inverts_lam(schedule, u):
    t = inside(schedule, u)
    if schedule.alpha(t) == 0:
        return  # the last jump of a zero-terminal table
    back = schedule.t_of_lam(schedule.lam(t))
    assert abs(back - t) <= 1e-12 * (schedule.t_max - schedule.t_min)


@every_schedule
def test_lam_is_the_log_of_alpha_over_sigma_and_decreases(schedule):
    t = inside(schedule, np.linspace(0.001, 0.98, 300))
    expected = np.log(schedule.alpha(t) / schedule.sigma(t))
    np.testing.assert_allclose(schedule.lam(t), expected, rtol=1e-10, atol=1e-10)
    assert (np.diff(schedule.lam(t)) < 0).all()


@every_schedule
def test_the_marginal_is_alpha_and_sigma(schedule):
    for t in (inside(schedule, np.linspace(0, 1, 65)), inside(schedule, 0.3)):
        for found, expected in zip(
            schedule.marginal(t), (schedule.alpha(t), schedule.sigma(t)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@every_schedule
def test_ends(schedule):
    assert schedule.t_min <= schedule.t_smallest < schedule.t_largest <= schedule.t_max
    assert schedule.alpha(schedule.t_largest) > 0
    assert schedule.sigma(schedule.t_smallest) > 0
    if schedule.t_clean is not None:
        assert schedule.sigma(schedule.t_clean) == 0
        assert schedule.alpha(schedule.t_clean) == 1
        assert schedule.lam(schedule.t_clean) == np.inf
        assert schedule.t_of_lam(np.inf) == schedule.t_clean
    if schedule.alpha(schedule.t_max) == 0:
        assert schedule.lam(schedule.t_max) == -np.inf
        assert schedule.t_of_lam(-np.inf) == schedule.t_max


@pytest.mark.parametrize(
    "schedule",
    [VPCosine(), RectifiedFlow(), RectifiedFlow(2.5), DiscreteBetas.linear().zero_terminal()],
)
def test_noisy_end_is_exactly_pure_noise(schedule):
    assert schedule.alpha(schedule.t_max) == 0
    assert schedule.sigma(schedule.t_max) == 1


VP = (VPLinear, VPCosine, LogSNR, DiscreteBetas)


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if isinstance(s, VP)], ids=label)
@few
@given(u=UNIT)
def test_variance_preserving(schedule, u):
    t = inside(schedule, u)
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1, rel=1e-13)


@every_schedule
def test_derivatives(schedule):
    t = inside(schedule, np.linspace(0.02, 0.95, 60))
    if schedule.t_min == -1:
        t = np.floor(t) + 0.5  # between the kinks of a discrete table
    h = 1e-5 * (schedule.t_max - schedule.t_min)
    for f, df in ((schedule.alpha, schedule.dalpha), (schedule.sigma, schedule.dsigma)):
        numeric = (8 * (f(t + h) - f(t - h)) - (f(t + 2 * h) - f(t - 2 * h))) / (12 * h)
        np.testing.assert_allclose(df(t), numeric, rtol=1e-7, atol=1e-9)


FUNCTIONS = ("alpha", "sigma", "lam", "dalpha", "dsigma", "input_scale", "model_time")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_torch_agrees_with_numpy(schedule, name):
    if getattr(schedule, "gamma", None) is not None and callable(schedule.gamma):
        schedule = LogSNR(lambda t: -10 + 14 * t + t**3)  # a callable for both
    t = inside(schedule, np.linspace(0.05, 0.95, 64))
    function = getattr(schedule, name)
    double = function(torch.from_numpy(t))
    single = function(torch.from_numpy(t).float())
    assert double.dtype == torch.float64 and single.dtype == torch.float32
    np.testing.assert_allclose(double.numpy(), function(t), rtol=1e-13, atol=1e-14)
    if schedule.t_min == 0:  # float32 cannot place t between the kinks of a discrete table
        np.testing.assert_allclose(single.numpy(), function(t), rtol=1e-3, atol=1e-5)


def test_scalars_and_integers():
    schedule = DiscreteBetas.linear()
    assert isinstance(schedule.alpha(3), float) and isinstance(VPCosine().sigma(0.5), float)
    integers = torch.tensor([0, 500, 999])
    assert schedule.alpha(integers).dtype == torch.float32
    np.testing.assert_allclose(schedule.alpha(integers), schedule.alpha([0, 500, 999]), rtol=1e-6)


def test_discrete_table_is_the_product_of_one_minus_beta():
    betas = np.linspace(1e-4, 0.02, 1000)
    schedule, t = DiscreteBetas(betas), np.arange(1000)
    np.testing.assert_allclose(schedule.alpha(t) ** 2, np.cumprod(1 - betas), rtol=1e-12)
    assert schedule.sigma(0) ** 2 == pytest.approx(1e-4, rel=1e-12)
    middle = schedule.alpha(6.5) ** 2
    assert middle == pytest.approx(schedule.alpha(6) * schedule.alpha(7), rel=1e-13)


def test_zero_terminal_keeps_the_first_level():
    schedule = DiscreteBetas.scaled_linear()
    assert schedule.zero_terminal().alpha(0) == pytest.approx(schedule.alpha(0), rel=1e-13)


def test_slopes_next_to_the_jump_are_those_of_the_finite_side():
    schedule = DiscreteBetas.scaled_linear(50).zero_terminal()
    last, h = schedule.t_largest, 1e-5
    assert last == 48 and not np.isfinite(schedule.dalpha([48.5, 49.0])).any()
    for view in (schedule, VarianceExploding(schedule)):
        for f, df in ((view.alpha, view.dalpha), (view.sigma, view.dsigma)):
            numeric = (3 * f(last) - 4 * f(last - h) + f(last - 2 * h)) / (2 * h)
            assert df(last) == pytest.approx(numeric, rel=1e-6, abs=1e-12)
            assert df(torch.tensor(last)).item() == pytest.approx(df(last), rel=1e-6)


def test_variance_exploding_view():
    base = VPLinear()
    view, t = VarianceExploding(base), np.linspace(0.1, 1, 7)
    np.testing.assert_array_equal(view.alpha(t), 1)
    np.testing.assert_allclose(view.sigma(t), base.sigma(t) / base.alpha(t), rtol=1e-15)
    np.testing.assert_array_equal(view.input_scale(t), base.alpha(t))
    np.testing.assert_array_equal(view.model_time(t), t)


def test_edm_preconditioning():
    plain, raw = EDM(), EDM(precondition=True)
    assert plain.input_scale(3.0) == 1 and plain.model_time(3.0) == 3
    assert raw.input_scale(3.0) == pytest.approx(1 / np.sqrt(9.25), rel=1e-15)
    assert raw.model_time(3.0) == pytest.approx(np.log(3) / 4, rel=1e-15)


def test_shifted_flow():
    schedule = RectifiedFlow(shift=3.0)
    assert schedule.sigma(0.5) == pytest.approx(0.75)
    assert schedule.model_time(0.5) == schedule.sigma(0.5)


def test_table_of_alphas_cumprod():
    table = DiscreteBetas.scaled_linear()
    values = np.float32(table.alpha(np.arange(1000)) ** 2)
    again = DiscreteBetas.from_alphas_cumprod(values)
    np.testing.assert_allclose(again.alpha(np.arange(1000)) ** 2, values, rtol=1e-13)
    zero = DiscreteBetas.from_alphas_cumprod([0.9, 0.5, 0.0])
    assert zero.alpha(2) == 0 and zero.sigma(2) == 1 and zero.T == 3


@pytest.mark.parametrize("log", [True, False])
def test_sigmas_between_timesteps(log):
    """k-diffusion interpolates the logarithm, diffusers the number."""
    schedule = DiscreteSigmas([0.1, 0.4, 2.0], log)
    assert schedule.sigma([-1.0, -0.5, 0, 1, 2]).tolist() == [0, 0.05, 0.1, 0.4, 2.0]
    assert schedule.sigma(0.5) == pytest.approx(0.2 if log else 0.25)
    assert schedule.t_of_lam(-np.log(0.2)) == pytest.approx(0.5 if log else 1 / 3)
    assert schedule.t_of_lam(-np.log(5.0)) == 2 and schedule.T == 3
    assert schedule.input_scale(1) == pytest.approx(1 / np.sqrt(1.16))
    at = DiscreteSigmas.of(DiscreteBetas.linear(), log)
    view = VarianceExploding(DiscreteBetas.linear())
    np.testing.assert_allclose(at.sigma(np.arange(1000)), view.sigma(np.arange(1000)), rtol=1e-12)


def test_trig_flow():
    schedule = TrigFlow(0.5)
    assert schedule.alpha(np.pi / 2) == 0 and schedule.sigma(np.pi / 2) == 0.5
    t = np.linspace(0.1, 1.4, 5)
    np.testing.assert_allclose(schedule.sigma(t) / schedule.alpha(t), 0.5 * np.tan(t))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: VPLinear(beta_min=0), ValueError, "VPLinear: beta_min must be > 0, got 0"),
        (lambda: VPLinear(1, 0.5), ValueError, "beta_max must be >= beta_min"),
        (lambda: SubVP(beta_max="a"), TypeError, "beta_max must be a real number, got 'a'"),
        (lambda: VE(2, 1), ValueError, "sigma_max must be > sigma_min"),
        (lambda: VE(sigma_max=np.inf), ValueError, "sigma_max must be finite"),
        (lambda: EDM(sigma_data=-1), ValueError, "EDM: sigma_data must be > 0"),
        (lambda: RectifiedFlow(0), ValueError, "RectifiedFlow: shift must be > 0"),
        (lambda: DiscreteBetas([0.1, 1.0, 0.1]), ValueError, r"betas\[1\] = 1"),
        (lambda: DiscreteBetas([[0.1]]), ValueError, r"got shape \(1, 1\)"),
        (lambda: DiscreteBetas("no"), TypeError, "betas must be a sequence of numbers"),
        (lambda: DiscreteBetas.linear(0), ValueError, "T must be a positive integer, got 0"),
        (lambda: LogSNR((1, 0)), ValueError, "increase from t = 0 to t = 1"),
        (lambda: LogSNR(3), TypeError, "callable or a pair of numbers, got 3"),
        (lambda: LogSNR(lambda t: -t), ValueError, "increase from t = 0 to t = 1"),
        (lambda: DiscreteSigmas([0.2, 0.1]), ValueError, "sigmas must be finite, positive and"),
        (lambda: DiscreteSigmas(0.2), ValueError, r"got shape \(\)"),
        (lambda: DiscreteSigmas("a"), TypeError, "sigmas must be a sequence of numbers"),
        (
            lambda: DiscreteSigmas.of(DiscreteBetas.linear().zero_terminal()),
            ValueError,
            "alpha > 0",
        ),
        (lambda: DiscreteBetas.from_alphas_cumprod([0.5, 0.6]), ValueError, "must decrease"),
        (lambda: TrigFlow(0), ValueError, "TrigFlow: sigma_data must be > 0, got 0"),
        (lambda: VarianceExploding(3), TypeError, "base must be a schedule, got 3"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()
