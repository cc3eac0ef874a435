"""The numbers of a schedule at the times of a batch: by numpy, by tensors, from a table."""

import gc

import pytest
import torch

from fastdiff import losses, schedules
from fastdiff.losses import weights
from fastdiff.losses.denoising import model_levels as levels_and_weights
from fastdiff.losses.levels import _memories
from fastdiff.parameterization import PREDICTIONS, exact_output
from tests.support.helpers import CONTINUOUS

SCHEDULES = [
    *CONTINUOUS,
    schedules.DiscreteBetas.linear(20),
    schedules.DiscreteSigmas.of(schedules.DiscreteBetas.linear(20)),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def times(schedule, dtype=torch.float64):
    if schedule.T:
        return torch.tensor([0, 3, 19, 7], dtype=dtype)
    part = torch.tensor([0.1, 0.33, 0.9, 0.5], dtype=dtype)
    return schedule.t_min + part * (schedule.t_max - schedule.t_min)


def model_levels(schedule, t, prediction):
    return levels_and_weights(schedule, t, prediction)[0]


def by_tensors(function, schedule, t):
    """As where t has a gradient: nothing is done by numpy or looked up."""
    return function(schedule, t.clone().requires_grad_()).detach()


@every_schedule
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_numpy_and_tensors_agree(schedule, prediction):
    scaled = bool((schedule.input_scale(times(schedule)) != 1).any())  # has no "flow"
    if prediction == "flow" and scaled:
        return
    for t in (times(schedule), times(schedule) + 0.25):
        for made in (losses.levels, model_levels):
            found = made(schedule, t, prediction)
            expected = by_tensors(lambda s, t, f=made: f(s, t, prediction), schedule, t)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            assert made(schedule, t.float(), prediction).dtype == torch.float32
        for name, weight in weights.WEIGHTS.items():
            if name == "flow" and scaled:
                continue
            found = losses.target_weight(schedule, t, prediction, weight)
            expected = by_tensors(
                lambda s, t, w=weight: losses.target_weight(s, t, prediction, w), schedule, t
            )
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=0, msg=name)


@every_schedule
def test_columns_are_those_of_the_schedule(schedule):
    t = times(schedule)
    a, b = exact_output("v", schedule, t)
    expected = torch.stack([schedule.alpha(t), schedule.sigma(t), a, b], 1)
    torch.testing.assert_close(losses.levels(schedule, t, "v"), expected, rtol=1e-12, atol=1e-15)
    c = schedule.input_scale(t)[:, None] * expected[:, :2]
    torch.testing.assert_close(model_levels(schedule, t, "v")[:, :2], c, rtol=1e-12, atol=1e-15)


def test_timesteps_are_looked_up():
    """Whole timesteps, the clean end too, in any dtype; what lies between or outside is not."""
    schedule = schedules.DiscreteBetas.linear(20)
    whole = losses.levels(schedule, torch.tensor([-1, 0, 19]), "eps")
    assert _memories[id(schedule)].tables
    same = torch.cat([losses.levels(schedule, torch.tensor([t]), "eps") for t in (-1.0, 0.0, 19.0)])
    assert torch.equal(whole, same) and whole[0].tolist() == [1, 0, 0, 1]
    between = losses.levels(schedule, torch.tensor([0.5]), "eps")
    assert whole[1, 0] > between[0, 0] > whole[2, 0]
    assert schedule == schedules.DiscreteBetas.linear(20)  # not part of what it is
    assert losses.levels(schedule, torch.zeros(0), "eps").shape == (0, 4)
    known = id(schedule)
    del schedule
    gc.collect()
    assert known not in _memories, "tables outlive their schedule"


def test_a_schedule_that_learns_has_its_gradient():
    end = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)

    def gamma(t):
        return -6 + (end + 6) * torch.as_tensor(t)

    schedule = schedules.LogSNR(gamma=lambda t: gamma(t) if torch.is_tensor(t) else -6 + 10 * t)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    loss = losses.denoising_loss(
        lambda x, t: 0.5 * x, torch.ones(2, 3).double(), t, torch.ones(2, 3).double(),
        schedule=schedule,
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(loss.sum(), end)
    assert gradient.abs() > 1e-3
    t.requires_grad_()
    (gradient,) = torch.autograd.grad(losses.levels(schedules.VPLinear(), t, "v").sum(), t)
    assert gradient.abs().min() > 1e-3


def test_somebodys_own_weight_sees_tensors():
    def weight(schedule, t):
        return torch.where(t < 0.5, 1.0, 2.0)

    schedule, t = schedules.RectifiedFlow(), torch.tensor([0.2, 0.7])
    found = losses.target_weight(schedule, t, "x0", weight)
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0]))


def test_it_compiles():
    """In one graph, with the values of the eager one."""
    schedule, x0, t = schedules.VPLinear(), torch.ones(2, 3), torch.tensor([0.2, 0.7])
    options = {"schedule": schedule, "weight": weights.MinSNR()}

    def loss(x0, t, eps):
        return losses.denoising_loss(lambda x, t: 0.5 * x, x0, t, eps, **options)

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x0, t, x0), loss(x0, t, x0))
