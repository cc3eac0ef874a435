"""Predictions: reading undoes writing, for every prediction on every schedule."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.parameterization import PREDICTIONS, exact_output, read
from fastdiff.schedules import (
    EDM,
    DiscreteBetas,
    RectifiedFlow,
    VarianceExploding,
    VPCosine,
    VPLinear,
)
from tests.support.registered import CASES, label

every_case = pytest.mark.parametrize(("schedule", "prediction"), CASES, ids=label)
NUMBER = st.floats(-3, 3)


@every_case
@settings(max_examples=settings.default.max_examples // 4)
@given(u=st.floats(0.01, 0.99), x0=NUMBER, eps=NUMBER)
def test_reading_an_exact_output_gives_back_x0_and_eps(schedule, prediction, u, x0, eps):
    t = schedule.t_min + u * (schedule.t_max - schedule.t_min)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    a, b = exact_output(prediction, schedule, t)
    reading = read(prediction, schedule, t)
    x, out = alpha * x0 + sigma * eps, a * x0 + b * eps
    # what is read off is a difference of terms this large
    size = 1 + np.abs([reading.x0_x * x, reading.eps_x * x, x0, eps]).max()
    assert abs(reading.x0_x * x + reading.x0_out * out - x0) <= 1e-12 * size
    assert abs(reading.eps_x * x + reading.eps_out * out - eps) <= 1e-12 * size


@every_case
def test_x0_and_eps_rebuild_the_state(schedule, prediction):
    t = schedule.t_min + np.linspace(0.05, 0.95, 19) * (schedule.t_max - schedule.t_min)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    r = read(prediction, schedule, t)
    np.testing.assert_allclose(alpha * r.x0_x + sigma * r.eps_x, 1, rtol=1e-12)
    scale = np.abs(alpha * r.x0_out)
    assert (np.abs(alpha * r.x0_out + sigma * r.eps_out) <= 1e-12 * scale).all()


def test_variance_preserving_v_is_a_rotation():
    t, schedule = np.linspace(0.1, 1, 5), VPCosine()
    r = read("v", schedule, t)
    np.testing.assert_allclose(r.x0_x, schedule.alpha(t), rtol=1e-14)
    np.testing.assert_allclose(r.x0_out, -schedule.sigma(t), rtol=1e-14)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_of_a_rectified_flow_is_eps_minus_x0(shift):
    schedule = RectifiedFlow(shift)
    assert exact_output("flow", schedule, 0.3) == (-1, 1)
    r = read("flow", schedule, 1.0)
    assert r.x0_x == 1 and r.x0_out == -1


def test_edm_network_is_minus_v_for_unit_data():
    schedule, t = EDM(sigma_data=1, precondition=True), np.geomspace(0.002, 80, 9)
    np.testing.assert_allclose(
        exact_output("edm", schedule, t), -np.array(exact_output("v", schedule, t)), rtol=1e-13
    )


def test_edm_network_is_the_table_of_the_paper():
    schedule, sigma, data = EDM(precondition=True), np.geomspace(0.002, 80, 9), 0.5
    r = read("edm", schedule, sigma)
    np.testing.assert_allclose(r.x0_x, data**2 / (sigma**2 + data**2), rtol=1e-14)
    np.testing.assert_allclose(r.x0_out, sigma * data / np.hypot(sigma, data), rtol=1e-14)


def test_score_is_in_the_model_frame():
    base, t = VPLinear(), 0.7
    _, b = exact_output("score", VarianceExploding(base), t)
    assert b == pytest.approx(-1 / base.sigma(t), rel=1e-14)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_tensors(prediction):
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    for here, there in zip(
        read(prediction, VPLinear(), t), read(prediction, VPLinear(), t.numpy()), strict=True
    ):
        np.testing.assert_allclose(here.numpy(), there, rtol=1e-13)


@pytest.mark.parametrize(
    ("prediction", "schedule", "t", "message"),
    [
        ("noise", VPLinear(), 0.5, "prediction must be one of 'eps', 'x0'.* got 'noise'"),
        ("eps", VPCosine(), 1.0, 'prediction "eps" is undefined at alpha = 0'),
        ("score", RectifiedFlow(), [0.5, 1.0], r'"score" is undefined at alpha = 0 \(t = 1\)'),
        ("flow", VarianceExploding(VPLinear()), 0.5, 'prediction "flow" needs'),
        ("edm", EDM(), 0.5, r"needs schedule EDM\(precondition=True\), got EDM"),
        ("edm", DiscreteBetas.linear(), 5, "needs schedule EDM"),
    ],
)
def test_errors(prediction, schedule, t, message):
    with pytest.raises(ValueError, match=message):
        read(prediction, schedule, t)


def test_schedule_must_be_a_schedule():
    with pytest.raises(TypeError, match="schedule: expected a schedule .* got 'cosine'"):
        read("eps", "cosine", 0.5)
