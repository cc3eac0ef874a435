"""Every fused scheduler against the stock one: the same samples, second results, result objects and
consumption of random numbers, over whole trajectories.

Where the coefficients of stock schedulers have lost digits in float32, what counts is a run of the
stock scheduler in float64, and, where a step multiplies what it reads by hundreds, what float32
makes of that.
"""

import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from fastdiff.row import COLUMN
from tests.integrations.cases import CASES
from tests.integrations.test_by_hand import LOOPS
from tests.support.loops import loop, start
from tests.support.twins import NAMES, TOLERANCE, distance, in_single, pair, widened

pytestmark = [
    pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

ALL = [
    pytest.param(name, config, options, id=f"{name}-{k}")
    for name in NAMES
    for k, (config, options) in enumerate(CASES[name])
]


#: Where results are more than TOLERANCE from those of stock, and why. What stock does in float64 is
#: as near to ours as to stock's each time, if not nearer.
BEYOND = {
    "UnCLIPScheduler": "x0 is a difference over alpha = 5e-5 where it starts: half a unit in the "
    "last place of the sample is 1e-3 of x0",
    "DEISMultistepScheduler": "stock: differences of logarithms of float32 sigmas, divided by each "
    "other, are off by 2e-4; ours by 4e-5",
    "DPMSolverMultistepScheduler": "beta sigmas in 5 steps: both are off by 9e-5",
    "DPMSolverMultistepInverseScheduler": "stock: the same differences, off by 1e-4; ours by 2e-7",
    "UniPCMultistepScheduler": "of eps instead of x0 from sigma = 157: both multiply roundings by "
    "sigma / alpha; stock is off by 5e-4, ours by 4e-4",
    "SASolverScheduler": "stock: integrals that are differences of exponentials, off by 4e-4; ours "
    "by 2e-4, of roundings that the corrector multiplies",
}


#: Classes whose tables tests/host compares with no scheduler: samples within CLOSE of stock's, or
#: of what stock does in float64, but for what float32 makes of steep rows.
CLOSE, CLOSER = 1e-5, (
    "CogVideoXDPMScheduler", "DPMSolverMultistepInverseScheduler", "HeliosScheduler",
    "HeliosDMDScheduler",
)  # fmt: skip


def tolerance_of(scheduler):
    """In sigma space a table without terminal signal starts at 4096, in float32."""
    from_nothing = scheduler.config.get("rescale_betas_zero_snr", False)
    rounding = 4096 * 2.0**-23 if from_nothing and float(scheduler.init_noise_sigma) > 1000 else 0
    return max(TOLERANCE, 2 * rounding)


def rounding_of(scheduler, x):
    """What rounding in float32 makes of the steepest row: half a unit in the last place of every
    coefficient, and of every product of one and a value as large as those of ``x``, what is
    remembered included."""
    run = scheduler._trajectory.run
    if run is None:
        return 0.0
    packed = np.abs([row.pack() for row in run.rows.rows])
    size = {name: packed[:, at] for name, at in COLUMN.items()}
    estimate = np.maximum(size["p_x"] + size["p_o"], 1.0)

    def total(row):
        return size[f"{row}_x"] + size[f"{row}_o"] + size[f"{row}_m"] * estimate

    kept = max(total("d").max(), total("e").max(), 1.0)
    now = total("c") + sum(size[f"c_{name}"] for name in ("s", "h0", "h1", "h2", "h3")) * kept
    return float(max(now.max(), kept) * 2.0**-23 * x.abs().max())


def assert_same(name, ours, stock, truth, x, tolerance=TOLERANCE, rounding=0.0):
    """Results of two loops: everything that they hold, step by step."""
    assert len(ours) == len(stock)
    for mine, theirs, exact in zip(ours, stock, truth, strict=True):
        assert type(mine) is type(theirs) and list(mine) == list(theirs)
        scale = max(1.0, x.double().std())  # of the state before the step
        for key in theirs:
            value, wanted = mine[key], theirs[key]
            if not isinstance(wanted, torch.Tensor):
                assert value == wanted
                continue
            assert value.dtype == wanted.dtype and value.shape == wanted.shape
            gap = distance(value, wanted)
            if name in CLOSER and key == "prev_sample":
                assert min(gap, distance(value, exact[key])) <= max(CLOSE * scale, rounding)
            if gap > tolerance * scale:
                assert name in BEYOND, (name, key, gap)
                # two orders of rounding are never quite alike
                allowed = max(1.2 * distance(wanted, exact[key]), rounding)
                assert distance(value, exact[key]) <= allowed, (key, gap)
        x = theirs["prev_sample"]


@pytest.mark.covered(times=2)
@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
@pytest.mark.parametrize(("name", "config", "options"), ALL)
def test_whole_trajectories(monkeypatch, name, config, options, steps):
    stock, ours = pair(name, config, steps)
    x = start(stock)
    exact = widened(stock)
    try:
        theirs, generator = loop(stock, x, **options)
    except (IndexError, AssertionError):
        pytest.skip("the stock scheduler fails")
    if not torch.isfinite(theirs[-1]["prev_sample"]).all():
        pytest.skip("the stock scheduler returns NaN")
    mine, drawn = loop(ours, x, **options)
    if generator is not None:
        assert torch.equal(generator.get_state(), drawn.get_state())
    in_single(monkeypatch, exact)
    truth = loop(exact, x.double(), **options)[0]
    unit = x.double() / x.double().std()
    assert_same(name, mine, theirs, truth, x, tolerance_of(stock), rounding_of(ours, unit))


def test_every_class_has_cases():
    missing = set(fused.SCHEDULERS) - set(CASES)
    # which have operands, or loops, of their own
    assert missing == {"RePaintScheduler", *LOOPS}


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDPMParallelScheduler"])
def test_the_noisy_loop_of_diffusers_own_tests(monkeypatch, name):
    """diffusers tests the sum of |x| after it, 387.9466 +- 0.01, which is what float32 makes of it;
    with the same alphas it is 387.9676 in float64, from where the twin is 5e-5 away."""

    def total(scheduler, dtype=torch.float32):
        numbers = torch.arange(4 * 3 * 8 * 8, dtype=dtype)
        x, noise = (
            (v.reshape(3, 8, 8, 4) / len(v)).permute(3, 0, 1, 2) for v in (numbers, numbers.flip(0))
        )
        timesteps, generator = scheduler.timesteps[-2:], torch.Generator().manual_seed(0)
        x = scheduler.add_noise(x, noise, timesteps[:1])
        for t in timesteps:
            x = scheduler.step(x * t / (t + 1), t, x, generator=generator).prev_sample
        return float(x.double().abs().sum())

    twin = fused.SCHEDULERS[name]
    exact = widened(twin.stock())
    in_single(monkeypatch, exact)
    truth = total(exact, torch.float64)
    assert truth == pytest.approx(387.96761, abs=1e-5)
    assert total(twin()) == pytest.approx(truth, abs=1e-4)
