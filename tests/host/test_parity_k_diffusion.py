"""k-diffusion's samplers and noise schedules, in float64: the same samples.

Known difference: k-diffusion draws noise on every step of ``euler``, ``heun`` and ``dpm_2``, also
where churn is off and nothing is added; fastdiff draws what it adds.
"""

from math import inf

import numpy as np
import pytest
import torch

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import EDM, VPLinear
from fastdiff.solvers import KDPM2, Euler, EulerAncestral, Heun, KDPM2Ancestral
from tests.host.interpreter import run
from tests.support.peers import k_diffusion_sampling
from tests.support.registered import label

SCHEDULE = EDM(sigma_max=1000.0)  # room for churn above the first level
START = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
every_steps = pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])


@pytest.fixture(scope="module")
def kd():
    return k_diffusion_sampling()


def denoised(y, sigma):
    v = 0.25 + sigma**2
    return 0.25 / v * y + 0.1 * np.sin(y / np.sqrt(v) + np.log(sigma))


def model(y, sigma):
    return torch.from_numpy(denoised(y.numpy(), float(sigma[0])))


def both(kd, name, solver, steps, draws, **options):
    """The last samples of the two; ``draws`` is the list of noise tensors."""
    levels = kd.get_sigmas_karras(steps, 0.002, 80.0).double()
    levels[0], levels[-2] = 80.0, 0.002 if steps > 1 else 80.0
    x = 80.0 * START
    stock = getattr(kd, f"sample_{name}")(model, x, levels, disable=True, **options)
    table = solver.lower(SCHEDULE, None, prediction="x0", grid=levels.numpy())
    used = [noise for noise, keep in draws(levels.numpy()[:-1]) if keep]
    assert table.noise_draws in (len(used), len(used) - 1)  # an ancestral sampler's last is unused
    mine, *_ = run(table.rows, denoised, x.numpy(), lambda n: used[n - 1].numpy())
    # its sigma_down is a difference, which in one step from 80 to 0.002 has lost ten digits
    lost = 1e-5 if name == "dpm_2_ancestral" and steps == 2 else 1e-9
    np.testing.assert_allclose(mine, stock.numpy(), rtol=lost, atol=lost)


CHURN = {"s_churn": 8.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}


@every_steps
@pytest.mark.parametrize("churn", [{}, CHURN, {"s_churn": 3.0}, {"s_churn": 1e3}], ids=label)
@pytest.mark.parametrize(
    ("name", "kind"), [("euler", Euler), ("heun", Heun), ("dpm_2", KDPM2)], ids=label
)
def test_churned(kd, monkeypatch, name, kind, churn, steps):
    given = []

    def randn_like(x):
        given.append(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        return given[-1]

    generator = torch.Generator().manual_seed(1)
    monkeypatch.setattr(torch, "randn_like", randn_like)

    def draws(levels):
        low, high = churn.get("s_tmin", 0.0), churn.get("s_tmax", inf)
        on = [bool(churn) and low <= level <= high for level in levels]
        return zip(given, on, strict=True)

    both(kd, name, kind(**churn), steps, draws, **churn)


@every_steps
@pytest.mark.parametrize("options", [{}, {"eta": 0.4}, {"eta": 0.0}, {"s_noise": 0.9}], ids=label)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("euler_ancestral", EulerAncestral), ("dpm_2_ancestral", KDPM2Ancestral)],
    ids=label,
)
def test_ancestral(kd, name, kind, options, steps):
    given, generator = [], torch.Generator().manual_seed(1)

    def sampler(sigma, sigma_next):
        given.append(torch.randn(START.shape, generator=generator, dtype=torch.float64))
        return given[-1]

    def draws(levels):
        return ((noise, options.get("eta", 1) > 0) for noise in given)

    both(kd, name, kind(**options), steps, draws, noise_sampler=sampler, **options)


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
@pytest.mark.parametrize(
    ("name", "options", "grid"),
    [
        ("karras", {}, grids.Karras(0.1, 80.0)),
        ("karras", {"rho": 5.0}, grids.Karras(0.1, 80.0, rho=5.0)),
        ("exponential", {}, grids.Exponential(0.1, 80.0)),
        ("polyexponential", {"rho": 2.0}, grids.PolyExponential(0.1, 80.0, rho=2.0)),
        ("polyexponential", {}, grids.LogSNR(0.1, 80.0)),
    ],
    ids=label,
)
def test_noise_schedules(kd, name, options, grid, steps):
    levels = getattr(kd, f"get_sigmas_{name}")(steps, 0.1, 80.0, **options)
    np.testing.assert_allclose(grid(SCHEDULE, steps), levels, rtol=5e-6)


def test_vp_noise_schedule(kd):
    schedule = VPLinear(0.1, 20.0)
    times = grids.Uniform(end=1e-3)(schedule, 9)
    levels = kd.get_sigmas_vp(10)
    np.testing.assert_allclose(
        schedule.sigma(times) / schedule.alpha(times), levels[:-1], rtol=5e-4
    )


def test_where_churn_enters():
    """The same noise, before or after the model: two methods, the same to first order."""
    before = Euler(8.0).lower(SCHEDULE, 20, prediction="x0", grid=grids.Karras(0.1, 80.0))
    after = Euler(8.0, late=True).lower(SCHEDULE, 20, prediction="x0", grid=grids.Karras(0.1, 80.0))
    assert before.rows[0, COLUMN["c_z"]] > 0 and after.rows[0, COLUMN["c_z"]] == 0
    assert before.rows[-2, COLUMN["c_z"]] == 0 and after.rows[-2, COLUMN["c_z"]] > 0
    assert (before.sigma[1:-1] > after.sigma[1:-1]).all()  # the levels that the model sees
