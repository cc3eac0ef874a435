"""The same trajectories as the schedulers of diffusers, whose coefficients are float32: hence the
tolerance."""

import numpy as np
import pytest
import torch

from fastdiff import grids
from fastdiff.schedules import DiscreteBetas, VarianceExploding
from fastdiff.solvers import DDPM
from tests.host.interpreter import run
from tests.support.registered import label

diffusers = pytest.importorskip("diffusers")
pytestmark = [  # its own, against recent numpy
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:diffusers"),
]

STEPS = 8
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
TABLE = DiscreteBetas.scaled_linear()
VIEW = VarianceExploding(TABLE)
START = torch.linspace(-2, 2, 7, dtype=torch.float64).reshape(1, 7, 1, 1)


def model(x, t):
    return 0.8 * x + 0.1 * np.cos(float(t) / 100)


def theirs(name, start, noise_dtype=torch.float64, step=None, **config):
    """The last sample of a scheduler, and the noise it drew."""
    config = {**BETAS, "timestep_spacing": "trailing", **config}
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(STEPS)
    step = step or {}
    if noise_dtype is not None:
        step["generator"] = torch.Generator().manual_seed(3)
    x = start
    for t in scheduler.timesteps:
        y = scheduler.scale_model_input(x, t)
        x = scheduler.step(model(y, t), t, x, **step).prev_sample
    same = torch.Generator().manual_seed(3)
    z = [
        torch.randn(START.shape, generator=same, dtype=noise_dtype or torch.float64)
        for _ in range(STEPS)
    ]
    return x.numpy(), lambda n: z[n - 1].double().numpy()


def test_large_variance():
    """diffusers' fixed_large is the beta of the step, so it ends with noise that the last row does
    not add."""
    expected, draw = theirs("DDPMScheduler", START, clip_sample=False, variance_type="fixed_large")
    table = DDPM("fixed_large").lower(TABLE, STEPS)
    x, *_ = run(table.rows, model, START.numpy(), draw)
    last = TABLE.sigma(table.t[-2]) * draw(STEPS)
    np.testing.assert_allclose(x + last, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "config"),
    [
        (DiscreteBetas.linear(), {"beta_schedule": "linear"}),
        (DiscreteBetas.scaled_linear(), BETAS),
        (DiscreteBetas.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    ],
    ids=label,
)
def test_beta_tables(ours, config):
    scheduler = diffusers.DDPMScheduler(**config)
    np.testing.assert_allclose(ours.betas, scheduler.betas, rtol=2e-4)
    zero = diffusers.DDPMScheduler(**config, rescale_betas_zero_snr=True)
    np.testing.assert_allclose(
        ours.zero_terminal().alpha(np.arange(1000)) ** 2, zero.alphas_cumprod, rtol=2e-4, atol=1e-7
    )


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 4, 30, 50, 1000])
def test_timestep_spacings(spacing, steps):
    if spacing == "linspace" and steps == 1:
        pytest.skip("diffusers evaluates its one linspace step at t = 0, the clean end")
    offset = 1 if spacing == "leading" and steps < 1000 else 0
    scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
    scheduler.set_timesteps(steps)
    options = {"steps_offset": offset} if spacing == "leading" else {}
    grid = getattr(grids, spacing.capitalize())(**options)
    times = grid(DiscreteBetas.linear(), steps)
    np.testing.assert_array_equal(times[:-1], scheduler.timesteps.numpy())


@pytest.mark.parametrize(
    ("flag", "grid"),
    [
        ("use_karras_sigmas", grids.Karras()),
        ("use_exponential_sigmas", grids.Exponential()),
        ("use_beta_sigmas", grids.Beta()),
    ],
    ids=label,
)
def test_sigma_spacings(flag, grid):
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, **{flag: True})
    scheduler.set_timesteps(10)
    times = grid(VIEW, 10)
    np.testing.assert_allclose(VIEW.sigma(times), scheduler.sigmas, rtol=2e-4)
