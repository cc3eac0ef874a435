"""k-diffusion's DPM-Solvers and its linear multistep method, in float64: the same samples.

Known differences: ``sample_dpm_fast`` draws noise on every step, also where it adds none; the
multistep SDE solvers cannot take a single step to sigma = 0.
"""

import numpy as np
import pytest
import torch

from fastdiff import grids
from fastdiff.schedules import EDM
from fastdiff.solvers import (
    LMS,
    DPMFast,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp2S,
    DPMpp3MSDE,
    DPMppSDE,
)
from tests.host.interpreter import run
from tests.support.peers import k_diffusion_sampling
from tests.support.registered import label

SCHEDULE = EDM()
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


class Brownian:
    """A noise sampler that walks one path, in increments of independent draws."""

    def __init__(self):
        self.given, self.walked = [], None
        self.generator = torch.Generator().manual_seed(1)

    def __call__(self, sigma, to):
        sigma, to = float(sigma), float(to)
        z = torch.randn(START.shape, generator=self.generator, dtype=torch.float64)
        self.given.append(z)
        whole = np.sqrt(sigma - to) * z
        if self.walked is not None and self.walked[0] == sigma and to < self.walked[1]:
            _, middle, first = self.walked
            whole = first + np.sqrt(middle - to) * z
        self.walked = sigma, to, whole
        return whole / np.sqrt(sigma - to)

    def number(self, n):
        return self.given[n - 1].numpy()


def compare(kd, name, solver, levels, arguments, **options):
    x = float(levels[0]) * START
    stock = getattr(kd, f"sample_{name}")(model, x, *arguments, disable=True, **options)
    table = solver.lower(SCHEDULE, None, prediction="x0", grid=levels)
    sampler = options.get("noise_sampler")
    mine, *_ = run(table.rows, denoised, x.numpy(), getattr(sampler, "number", None))
    np.testing.assert_allclose(mine, stock.numpy(), rtol=1e-9, atol=1e-9)


NOISY = [
    ("dpmpp_2s_ancestral", DPMpp2S, [{"eta": 1.0}, {"eta": 0.6, "s_noise": 1.1}, {"eta": 0.0}]),
    ("dpmpp_sde", DPMppSDE, [{}, {"eta": 0.6, "s_noise": 0.9, "r": 0.3}, {"eta": 0.0, "r": 0.8}]),
    ("dpmpp_2m_sde", DPMpp2MSDE, [{}, {"eta": 0.6, "s_noise": 0.9}, {"eta": 0.0}]),
    ("dpmpp_3m_sde", DPMpp3MSDE, [{}, {"eta": 0.6, "s_noise": 0.9}, {"eta": 0.0}]),
]
CASES = [
    *((name, kind(**options), options) for name, kind, many in NOISY for options in many),
    ("dpmpp_2m_sde", DPMpp2MSDE("heun"), {"solver_type": "heun"}),
]


@pytest.mark.covered(times=3)
@every_steps
@pytest.mark.parametrize("final", [0.0, 0.002])
@pytest.mark.parametrize(("name", "solver", "options"), CASES, ids=label)
def test_noisy(kd, name, solver, options, final, steps):
    if steps == 1 and final == 0 and name in ("dpmpp_2m_sde", "dpmpp_3m_sde"):
        pytest.skip("raises UnboundLocalError")
    levels = grids.Karras(final="clean" if final == 0 else "min")(SCHEDULE, steps)
    compare(
        kd, name, solver, levels, [torch.from_numpy(levels)], noise_sampler=Brownian(), **options
    )


@every_steps
@pytest.mark.parametrize(
    ("name", "solver", "options"),
    [("dpmpp_2m", DPMpp2M(), {}), *(("lms", LMS(p), {"order": p}) for p in range(1, 6))],
    ids=label,
)
def test_multistep(kd, name, solver, options, steps):
    levels = grids.Karras()(SCHEDULE, steps)
    compare(kd, name, solver, levels, [torch.from_numpy(levels)], **options)


@pytest.fixture
def float64_times():
    """It spaces its times in torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_times")
@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning")
@pytest.mark.parametrize("budget", [1, 2, 3, 5, 9, 20, 50])
@pytest.mark.parametrize("options", [{}, {"eta": 1.0}, {"eta": 0.5, "s_noise": 1.1}], ids=label)
def test_fast(kd, options, budget):
    levels = grids.Exponential(0.1, 40.0, final="min")(SCHEDULE, budget // 3 + 1)
    ends = [torch.tensor(end, dtype=torch.float64) for end in (levels[-1], levels[0])]
    solver = DPMFast(budget % 3, **options)
    assert solver.lower(SCHEDULE, None, prediction="x0", grid=levels).nfe == budget
    compare(kd, "dpm_fast", solver, levels, [*ends, budget], noise_sampler=Brownian(), **options)
