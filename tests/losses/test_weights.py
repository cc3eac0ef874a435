"""Weightings: in every unit the same loss, and their published forms."""

import numpy as np
import pytest
import torch

from fastdiff import losses, schedules
from fastdiff.losses import weights
from fastdiff.parameterization import PREDICTIONS, exact_output, read
from tests.support.oracles import GaussianData, cubature

SCHEDULES = [
    schedules.VPLinear(),
    schedules.SubVP(),
    schedules.VE(sigma_max=20.0),
    schedules.RectifiedFlow(),
    schedules.LogSNR((-6.0, 4.0)),
]
T = torch.linspace(0.15, 0.85, 7, dtype=torch.float64)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def batch(seed=0, shape=(7, 3, 2)):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def network(x, t):
    return torch.tanh(2 * x) + 0.3 * x - 0.1


@every_schedule
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", weights.WEIGHTS)
def test_the_loss_is_the_weighted_error_of_x0(schedule, prediction, name):
    """Whatever the network predicts, its loss is weight(t) ||x0 - x0_hat||^2."""
    x0, eps, weight = batch(), batch(1), weights.find(name)
    loss = losses.denoising_loss(
        network, x0, T, eps, schedule=schedule, prediction=prediction, weight=weight
    )
    alpha, sigma = (f(T).reshape(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
    x_t = alpha * x0 + sigma * eps
    out = network(x_t * schedule.input_scale(T).reshape(-1, 1, 1), None)
    r = read(prediction, schedule, T)
    x0_hat = r.x0_x.reshape(-1, 1, 1) * x_t + r.x0_out.reshape(-1, 1, 1) * out
    expected = weight(schedule, T) * (x0 - x0_hat).square().sum((1, 2))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


@every_schedule
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_weight_one_is_the_plain_error_of_the_output(schedule, prediction):
    x0, eps = batch(), batch(1)
    alpha, sigma = (f(T).reshape(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
    a, b = (torch.as_tensor(v).reshape(-1, 1, 1) for v in exact_output(prediction, schedule, T))
    expected = (network(alpha * x0 + sigma * eps, None) - a * x0 - b * eps).square().sum((1, 2))
    for weight in (None, weights.find(prediction)):
        loss = losses.denoising_loss(
            network, x0, T, eps, schedule=schedule, prediction=prediction, weight=weight
        )
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def in_eps(name, schedule):
    """The weighting as a weight on the squared error of eps."""
    return weights.find(name)(schedule, T) / weights.snr(schedule, T)


def test_published_forms():
    vp, ve = schedules.VPLinear(), schedules.VE(sigma_max=20.0)
    snr = (vp.alpha(T) / vp.sigma(T)) ** 2
    log_snr, rho = torch.log(snr), ve.sigma(T)
    beta = vp.rate(T)  # g^2 of the VP SDE
    expected = {
        ("eps", vp): 1 + 0 * T,
        ("snr", vp): 1 + 0 * T,
        ("v", vp): (snr + 1) / snr,
        ("min-snr", vp): snr.clamp(max=5) / snr,
        ("score", vp): 1 / vp.sigma(T) ** 2,
        ("elbo", vp): 0.5 * beta / vp.sigma(T) ** 2,  # 1/2 g^2 on the score
        ("elbo", ve): float(np.log(20.0 / 0.01)) + 0 * T,
        ("sigmoid", vp): 0.5 * beta / vp.sigma(T) ** 2 * torch.sigmoid(2 - log_snr),
        ("edm", ve): (rho**2 + 0.25) / (0.5 * rho) ** 2 * rho**2,
    }
    for (name, schedule), weight in expected.items():
        torch.testing.assert_close(in_eps(name, schedule), weight, rtol=1e-12, atol=0, msg=name)


def test_flow_matching_is_the_loss_of_the_velocity():
    """On straight lines the error of u = eps - x0 is that of x0 over sigma."""
    t = T
    schedule = schedules.RectifiedFlow()
    torch.testing.assert_close(weights.find("flow")(schedule, t), 1 / t**2)


@pytest.mark.parametrize(
    "schedule", [SCHEDULES[i] for i in (0, 1, 2, 4)], ids=lambda s: repr(s)[:9]
)
def test_the_elbo_weight_integrates_to_the_same_for_every_schedule(schedule):
    """For Gaussian data it is 1/2 log((1 + c snr_max) / (1 + c snr_min)) per dimension."""
    data, ends = GaussianData(), (0.05, 0.95)
    nodes, gauss = np.polynomial.legendre.leggauss(60)
    t = torch.tensor(0.5 * (nodes + 1) * (ends[1] - ends[0]) + ends[0])
    points = cubature(2)  # over x0 and eps
    loss = torch.zeros_like(t)
    for z0, eps in points.tolist():
        x0 = torch.full((len(t), 1), data.mean + data.c**0.5 * z0, dtype=torch.float64)
        loss += losses.denoising_loss(
            data.eps_model(schedule), x0, t, torch.full_like(x0, eps), schedule=schedule,
            weight=weights.ELBO(),
        ) / len(points)  # fmt: skip
    integral = (loss.numpy() * gauss).sum() * 0.5 * (ends[1] - ends[0])
    high, low = (float(weights.snr(schedule, torch.tensor(e, dtype=torch.float64))) for e in ends)
    expected = 0.5 * np.log((1 + data.c * high) / (1 + data.c * low))
    assert integral == pytest.approx(expected, rel=1e-9)


def test_edm_times_are_normal():
    u = (torch.arange(20000) + 0.5).double() / 20000
    log_rho = losses.edm_times(u)
    assert log_rho.mean().item() == pytest.approx(-1.2, abs=1e-3)
    assert log_rho.std().item() == pytest.approx(1.2, abs=1e-3)
    assert losses.edm_times(torch.tensor([0.0, 1.0])).isfinite().all()


def test_times_are_stratified():
    u = losses.low_discrepancy(64, torch.Generator().manual_seed(3))
    assert ((u >= 0) & (u < 1)).all()
    assert torch.equal((u * 64).floor().sort().values, torch.arange(64.0))


def test_unknown_and_bad_weightings():
    with pytest.raises(ValueError, match="weight: expected .eps., .x0., .*, got 'none'"):
        weights.find("none")
    with pytest.raises(ValueError, match="gamma: expected a finite number > 0, got 0"):
        weights.MinSNR(0)
    with pytest.raises(ValueError, match="sigma_data: expected a finite number > 0, got -1"):
        weights.EDM(-1)
