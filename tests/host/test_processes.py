"""Diffusion processes against their definitions."""

import numpy as np
import pytest
import torch

from fastdiff import processes, schedules
from fastdiff.schedules import VPLinear
from tests.support.registered import SCHEDULES, label

NAMED = [processes.VP(), processes.SubVP(), processes.VE(), processes.RectifiedFlow()]
every_process = pytest.mark.parametrize("process", NAMED, ids=lambda p: type(p).__name__)


def inside(schedule, count=7):
    ends = (schedule.t_min, schedule.t_max)
    t = ends[0] + np.linspace(0.1, 0.9, count) * (ends[1] - ends[0])
    return np.floor(t) + 0.5 if schedule.T is not None else t  # between the kinks of a table


@pytest.mark.parametrize("schedule", SCHEDULES, ids=label)
def test_the_marginals_solve_the_equation(schedule):
    """d alpha = f alpha dt, d sigma^2 = (2 f sigma^2 + g^2) dt."""
    process, t = processes.of(schedule), inside(schedule)
    h = 1e-5 * (schedule.t_max - schedule.t_min)
    alpha, sigma = process.marginal(t)

    def rate(function):
        return (function(t + h) - function(t - h)) / (2 * h)

    f, g2 = process.drift(t), process.diffusion2(t)
    scale = np.abs(rate(schedule.alpha)) + 1
    np.testing.assert_allclose(f * alpha / scale, rate(schedule.alpha) / scale, atol=1e-6)
    expected = rate(lambda u: schedule.sigma(u) ** 2)
    np.testing.assert_allclose(2 * f * sigma**2 + g2, expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(process.diffusion(t) ** 2, g2, rtol=1e-13)
    assert process.prior == schedule.sigma(schedule.t_max)


@every_process
def test_closed_forms_are_the_general_ones(process):
    t, general = inside(process.schedule), processes.Process(process.schedule)
    np.testing.assert_allclose(process.drift(t), general.drift(t), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(process.diffusion2(t), general.diffusion2(t), rtol=1e-10)
    assert type(processes.of(process.schedule)) is type(process)


def test_the_equations_of_the_paper():
    t = np.linspace(0, 1, 5)
    beta, B = 0.1 + 19.9 * t, 0.1 * t + 9.95 * t**2
    np.testing.assert_allclose(processes.VP().drift(t), -beta / 2)
    np.testing.assert_allclose(processes.VP().diffusion2(t), beta)
    np.testing.assert_allclose(processes.SubVP().diffusion2(t), beta * (1 - np.exp(-2 * B)))
    sigma = 0.01 * 5000**t
    np.testing.assert_allclose(processes.VE().diffusion(t), sigma * np.sqrt(2 * np.log(5000)))
    assert not processes.VE().drift(t).any()
    u = t[1:-1]
    np.testing.assert_allclose(processes.RectifiedFlow().drift(u), -1 / (1 - u))
    np.testing.assert_allclose(processes.RectifiedFlow().diffusion2(u), 2 * u / (1 - u))


@every_process
def test_transitions_compose(process):
    low, middle, high = inside(process.schedule, 3)
    (a, c), (b, d) = process.transition(low, middle), process.transition(middle, high)
    e, f = process.transition(low, high)
    assert a * b == pytest.approx(e, rel=1e-12) and (b * c) ** 2 + d**2 == pytest.approx(f**2)


@every_process
def test_torch_agrees_with_numpy(process):
    t = inside(process.schedule)
    tensor = torch.from_numpy(t)
    for name in ("drift", "diffusion2", "diffusion"):
        here = getattr(process, name)(tensor)
        assert here.dtype == torch.float64
        np.testing.assert_allclose(here, getattr(process, name)(t), rtol=1e-12)
    x, score = torch.full_like(tensor, 0.3), torch.full_like(tensor, -1.1)
    drift, g = process.reverse(tensor, x, score, noise=0.0)
    flow = process.schedule.dalpha(t) * 0.3 / process.schedule.alpha(t)
    np.testing.assert_allclose(drift, flow + 0.55 * process.diffusion2(t), rtol=1e-12)
    assert not g.any()
    drift, g = process.reverse(tensor, x, score)
    np.testing.assert_allclose(drift, flow + 1.1 * process.diffusion2(t), rtol=1e-12)
    np.testing.assert_allclose(g, process.diffusion(t), rtol=1e-12)


def test_process_errors():
    with pytest.raises(TypeError, match="VE: schedule must be a fastdiff VE, got VPLinear"):
        processes.VE(VPLinear())
    with pytest.raises(TypeError, match="Process: schedule must be a fastdiff Schedule, got 3"):
        processes.Process(3)


def test_every_process_is_listed():
    assert {type(p).__name__ for p in NAMED} == {"VP", "SubVP", "VE", "RectifiedFlow"}
    assert isinstance(processes.of(schedules.EDM()), processes.Process)
