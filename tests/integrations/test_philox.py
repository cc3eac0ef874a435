"""noise="philox": fastdiff's own noise, with keys taken from the caller's generators."""

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop, start
from tests.support.twins import NAMES, assert_equal, distance, pair, plain, stepping_with

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
    pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning"),
]
STEPS = 6
OPTIONS = {"DDIMScheduler": {"eta": 1.0}, "DDIMParallelScheduler": {"eta": 1.0}}
OPTIONS |= {"EulerDiscreteScheduler": {"s_churn": 8.0}}
CONFIGS = {"FlowMatchEulerDiscreteScheduler": {"stochastic_sampling": True}}
CONFIGS |= dict.fromkeys(
    ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
     "EDMDPMSolverMultistepScheduler"),
    {"algorithm_type": "sde-dpmsolver++"},
)  # fmt: skip
# which take a generator, and never draw
SILENT = {
    "CogVideoXDDIMScheduler", "EDMEulerScheduler", "FlowMatchHeunDiscreteScheduler",
    "HeliosScheduler", "HeliosDMDScheduler", "DPMSolverMultistepInverseScheduler",
}  # fmt: skip
DRAWING = [n for n in stepping_with("generator") if n not in SILENT]

every = pytest.mark.parametrize("name", DRAWING)


def run(name, source, seeds, rows=slice(None)):
    """The results; one seed is that of a generator, several are of one for each sample."""
    config = CONFIGS.get(name, plain(name))
    _, scheduler = pair(name, config, STEPS)
    scheduler.noise = source
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    used = generators if len(seeds) > 1 else generators[0]
    x = start(scheduler)[rows]
    return loop(scheduler, x, generator=lambda: used, **OPTIONS.get(name, {}))[0], generators


@every
def test_the_seed_makes_the_samples(name):
    (one, _), (again, _), (other, used) = (run(name, "philox", [s]) for s in (3, 3, 4))
    assert_equal(one, again)
    assert distance(one[-1]["prev_sample"], other[-1]["prev_sample"]) > 1e-3
    fresh = torch.Generator().manual_seed(4).get_state()
    assert not torch.equal(used[0].get_state(), fresh)  # the next images are others


@every
def test_it_is_other_noise_than_that_of_torch(name):
    (torch_s, _), (philox, _) = (run(name, source, [3]) for source in ("torch", "philox"))
    pairs = [[step["prev_sample"] for step in both] for both in zip(torch_s, philox, strict=True)]
    # some add no noise to the first
    theirs, mine = next(both for both in pairs if not torch.equal(*both))
    assert distance(theirs, mine) > 1e-4
    assert float(mine.std()) == pytest.approx(float(theirs.std()), rel=0.15)  # of 240 numbers


@every
def test_a_sample_does_not_depend_on_the_others(name):
    together, _ = run(name, "philox", [11, 12])
    alone, _ = run(name, "philox", [12], rows=slice(1, 2))
    for both, single in zip(together, alone, strict=True):
        assert torch.equal(both["prev_sample"][1:], single["prev_sample"])


@pytest.mark.parametrize("name", sorted(SILENT & set(NAMES)))
def test_the_others_are_the_same(name):
    if name == "DPMSolverMultistepInverseScheduler":
        pytest.skip("an SDE backwards has no rows")
    (one, _), (other, _) = (run(name, source, [3]) for source in ("torch", "philox"))
    assert_equal(one, other)


def test_another_source_is_refused():
    with pytest.raises(ValueError, match='noise: expected "torch" or "philox", got 7'):
        fused.DDIMScheduler().noise = 7
