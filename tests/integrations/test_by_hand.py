"""Fused schedulers whose loop is another than that around ``step``, driven as their pipelines do:
those of score_sde, of Karras et al., and of Proteina."""

import sys

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.twins import TOLERANCE, distance

pytestmark = pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
SHAPE = (2, 3, 4, 5)
STEPS = [1, 2, 5, 20, 50]


def start(scale=1.0, dtype=torch.float32):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (scale * x).to(dtype)


def eps(y, sigma):
    """Of unit-variance data in y = x0 + sigma eps, with something nonlinear in it."""
    size = (1 + sigma**2) ** 0.5
    return (sigma / size**2 * y + 0.3 * torch.sin(3 * y / size) / size).to(y.dtype)


def variance_exploding(scheduler, x, steps, generator):
    """The loop of ScoreSdeVePipeline."""
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)
    states = []
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[i])
        for _ in range(scheduler.config.correct_steps):
            out = -eps(x, sigma) / sigma
            x = scheduler.step_correct(out, x, generator=generator).prev_sample
            states.append(x)
        result = scheduler.step_pred(-eps(x, sigma) / sigma, t, x, generator=generator)
        x = result.prev_sample
        states += [x, result.prev_sample_mean]
    return states


def variance_preserving(scheduler, x, steps, generator):
    scheduler.set_timesteps(steps)
    states = []
    for t in scheduler.timesteps:
        out = 0.9 * x + 0.1 * torch.cos(3 * x + t).to(x.dtype)
        x, mean = scheduler.step_pred(out, x, t, generator=generator)
        states += [x, mean]
    return states


def karras(scheduler, x, steps, generator):
    """The loop of KarrasVePipeline; its models give -eps."""
    scheduler.set_timesteps(steps)
    states = []
    for t in scheduler.timesteps:
        sigma = scheduler.schedule[t]
        after = scheduler.schedule[t - 1] if t > 0 else 0
        raised, hat = scheduler.add_noise_to_input(x, sigma, generator=generator)
        result = scheduler.step(-eps(raised, float(hat)), hat, after, raised)
        states += [raised, *result.values()]
        if after != 0:
            out = -eps(result.prev_sample, float(after))
            result = scheduler.step_correct(
                out, hat, after, raised, result.prev_sample, result["derivative"]
            )
            states += result.values()
        x = result.prev_sample
    return states


def proteina(scheduler, x, steps, generator):
    """Tokens of which some are left out, each row with a generator of its own."""
    scheduler.set_timesteps(steps)
    x, states = x.flatten(1, 2), []
    mask = torch.arange(x[..., 0].numel()).reshape(x.shape[:-1]) % 4 != 3
    rows = [torch.Generator().manual_seed(k) for k in range(len(x))]
    for t in scheduler.timesteps:
        sigma, v = 1 - float(t), (0.3 * torch.sin(3 * x + t)).to(x.dtype)
        out = (1 - 2 * sigma) / (sigma**2 + (1 - sigma) ** 2) * x + v
        x = scheduler.step(out, t, x, mask, rows).prev_sample
        states.append(x)
    generator.manual_seed(sum(int(row.get_state().sum()) for row in rows))
    return states


LOOPS = {
    "ScoreSdeVeScheduler": variance_exploding,
    "ScoreSdeVpScheduler": variance_preserving,
    "KarrasVeScheduler": karras,
    "RFD4ProteinaScheduler": proteina,
}
PROTEINA = {"tsr_k": 2.0, "tsr_sigma": 0.6}
CASES = [
    ("ScoreSdeVeScheduler", {}),
    ("ScoreSdeVeScheduler", {"snr": 0.3, "correct_steps": 2, "sigma_max": 50.0}),
    ("ScoreSdeVpScheduler", {}),
    ("ScoreSdeVpScheduler", {"beta_max": 5, "sampling_eps": 0.01}),
    ("KarrasVeScheduler", {"sigma_max": 7.0}),
    ("KarrasVeScheduler", {"sigma_max": 4.0, "s_churn": 5.0, "s_noise": 1.0, "s_max": 3.0}),
    ("KarrasVeScheduler", {"s_churn": 0.0, "sigma_max": 7.0}),
    *(
        ("RFD4ProteinaScheduler", {**PROTEINA, "schedule_mode": mode, "noise_mode": noise, **more})
        for mode, noise, more in [
            ("log", "1/t", {"tail_steps": 0}),
            ("power", "tan", {"tail_steps": 0, "t_lim_ode": 0.6, "t_lim_ode_below": 0.0}),
            ("power", "1/t", {}),
        ]
    ),
]
every_case = pytest.mark.parametrize(("name", "config"), CASES)
every = pytest.mark.parametrize("name", LOOPS)


def run(name, scheduler, steps, dtype=torch.float32, seed=3):
    generator = torch.Generator().manual_seed(seed)
    scale = float(getattr(scheduler, "init_noise_sigma", 1.0))
    scale = scale**2 if name.startswith("Karras") else scale  # its levels are squares
    states = LOOPS[name](scheduler, start(scale, dtype), steps, generator)
    return states, generator.get_state()


def pair(name, config):
    twin = fused.SCHEDULERS[name]
    return twin.stock(**config), twin(**config)


def exactly(monkeypatch, scheduler):
    """A stock scheduler made to compute in float64, with the noise of its run in float32."""
    module = sys.modules[type(scheduler).__module__]
    draw = module.randn_tensor

    def rounded(shape, *args, dtype=torch.float64, **options):
        return draw(shape, *args, dtype=torch.float32, **options).to(dtype)

    monkeypatch.setattr(module, "randn_tensor", rounded)
    set_timesteps = scheduler.set_timesteps

    def widely(*args, **options):
        set_timesteps(*args, **options)
        for name, value in vars(scheduler).items():
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                setattr(scheduler, name, value.double())

    scheduler.set_timesteps = widely
    return scheduler


@pytest.mark.parametrize("steps", STEPS)
@every_case
def test_whole_trajectories(monkeypatch, name, config, steps):
    if name.startswith("Karras") and steps == 1:
        pytest.skip("the stock scheduler divides by zero")
    if config.get("tail_steps") is None and name.startswith("RFD4") and steps < 20:
        pytest.skip("fewer steps than its tail has")
    stock, ours = pair(name, config)
    (theirs, after), (mine, drawn) = (run(name, s, steps) for s in (stock, ours))
    assert torch.equal(after, drawn)
    truth, _ = run(name, exactly(monkeypatch, stock), steps, torch.float64)
    for k, (value, wanted, exact) in enumerate(zip(mine, theirs, truth, strict=True)):
        assert value.dtype == wanted.dtype
        # float32 rounds in units of what a step starts from: one of the values before
        allowed = TOLERANCE * max(1.0, *(float(v.std()) for v in theirs[max(0, k - 4) : k + 1]))
        assert distance(value, wanted) <= allowed or (
            distance(value, exact) <= max(allowed, distance(wanted, exact))
        )
    assert ours._trajectory.run is not None
