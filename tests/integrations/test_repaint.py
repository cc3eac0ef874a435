"""RePaint, which is told what is known of the sample, and jumps back in time."""

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.twins import distance

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning"),
]
SHAPE = (2, 3, 6, 5)
CONFIGS = [{}, {"eta": 1.0}, {"clip_sample": False, "beta_schedule": "scaled_linear"}]


def normals(seed, dtype):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(dtype)


def paint(scheduler, steps, dtype=torch.float32, seed=3, **options):
    """The loop of RePaintPipeline; all results, and where the generator stands."""
    scheduler.set_timesteps(steps, 2, 2)
    x, image = normals(0, dtype), normals(1, dtype).clamp(-1, 1)
    mask = (normals(2, dtype)[:, :1] > 0).to(dtype)
    generator, states, before = torch.Generator().manual_seed(seed), [], scheduler.timesteps[0] + 1
    for t in scheduler.timesteps:
        if t < before:
            out = 0.8 * x + 0.3 * torch.sin(3 * x + t / 200).to(dtype)
            result = scheduler.step(out, t, x, image, mask, generator, **options)
            states.append(result)
            x = result[0]
        else:
            x = scheduler.undo_step(x, before, generator)
        before = t
    return states, generator.get_state()


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_whole_trajectories(config, steps):
    twin = fused.RePaintScheduler
    (theirs, after), (mine, drawn) = (paint(c(**config), steps) for c in (twin.stock, twin))
    assert torch.equal(after, drawn)
    # x0 = (x - sigma out) / alpha: on either side its terms, of up to 5 / alpha at the noisiest
    # level, are rounded to float32 before they cancel.
    alpha = float(twin(**config).alphas_cumprod[-1]) ** 0.5
    rounding = {"prev_sample": 0.0, "pred_original_sample": 2 * 2.0**-24 * 5 / alpha}
    for ours, stock in zip(mine, theirs, strict=True):
        assert type(ours) is type(stock)
        for key in stock:
            scale = max(1.0, float(stock[key].std()))
            assert ours[key].dtype == stock[key].dtype
            assert distance(ours[key], stock[key]) <= 1e-5 * scale + rounding[key], key


def test_tuples():
    states, _ = paint(fused.RePaintScheduler(), 4, return_dict=False)
    results, _ = paint(fused.RePaintScheduler(), 4)
    for values, result in zip(states, results, strict=True):
        assert type(values) is tuple
        assert all(torch.equal(a, b) for a, b in zip(values, result.values(), strict=False))


def test_what_is_known_is_kept():
    """Without noise the last step returns the image where the mask says so."""
    scheduler = fused.RePaintScheduler()
    states, _ = paint(scheduler, 5)
    image = normals(1, torch.float32).clamp(-1, 1)
    mask = (normals(2, torch.float32)[:, :1] > 0).expand(SHAPE)
    last = states[-1]["prev_sample"]
    assert distance(last[mask], image[mask]) < 0.05 and distance(last[~mask], image[~mask]) > 0.5


def test_philox_on_request():
    last = []
    for seed in (3, 3, 4):
        scheduler = fused.RePaintScheduler(eta=1.0)
        scheduler.noise = "philox"
        last.append(paint(scheduler, 4, seed=seed)[0][0]["prev_sample"])
    assert torch.equal(last[0], last[1]) and distance(last[0], last[2]) > 0.01
