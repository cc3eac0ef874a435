"""Changes of which no object tells: writes that leave no version, tables and options that are set
in place between two loops."""

import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop, start
from tests.support.twins import NAMES, TOLERANCE, assert_like_stock, distance, pair, plain, smooth

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]
STEPS = 6


def through_data(x):
    x.data.mul_(0.5)


def through_numpy(x):
    x.numpy()[...] *= 0.5


def through_dlpack(x):
    torch.utils.dlpack.from_dlpack(x).mul_(0.5)


def through_storage(x):
    torch.empty(0).set_(x.untyped_storage(), 0, x.shape, x.stride()).mul_(0.5)


def other_memory(x):
    x.data = 0.5 * x.data.transpose(1, 2).clone().transpose(1, 2)


WRITES = [through_data, through_numpy, through_dlpack, through_storage, other_memory]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", NAMES)
def test_samples_written_to_without_a_trace(monkeypatch, name, write):
    """As a policy does that puts its observations into the sample through numpy."""

    def changed(i, x):
        if i in (1, 3):
            version = x._version
            write(x)
            assert x._version == version
        return x

    def run(scheduler, x):
        return loop(scheduler, x, between=changed)[0]

    assert_like_stock(monkeypatch, *pair(name, plain(name), STEPS), run)


def no_clip(scheduler):
    scheduler.config.clip_sample = False


def table_in_place(scheduler):
    scheduler.alphas_cumprod[500:] *= 0.5


def other_end(scheduler):
    scheduler.final_alpha_cumprod = torch.tensor(0.9)


def timesteps_in_place(scheduler):
    scheduler.timesteps -= 9


CHANGES = [
    ("DDIMScheduler", no_clip),
    ("DDIMScheduler", table_in_place),
    ("DDIMScheduler", other_end),
    ("DDIMScheduler", timesteps_in_place),
    ("DDPMScheduler", no_clip),
    ("DDPMScheduler", table_in_place),
]


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_loop_that_is_repeated_without_setting_timesteps(name, change):
    lasts = []
    for scheduler in pair(name, {"timestep_spacing": "trailing"}, 5):

        def run(s=scheduler):
            return loop(s, start(s), model=lambda y, t: 0.5 * y)[0][-1].prev_sample

        first = run()
        change(scheduler)
        last = run()
        assert distance(first, last) > 0.01
        lasts.append(last)
    assert distance(*lasts) <= TOLERANCE


@pytest.mark.parametrize("method", ["add_noise", "get_velocity"])
def test_tables_of_the_forward_process_changed_in_place(method):
    values, t = [], torch.tensor([500])
    x, z = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for scheduler in pair("DDPMScheduler", {}, STEPS):
        getattr(scheduler, method)(x, z, t)
        scheduler.alphas_cumprod *= 0.5
        values.append(getattr(scheduler, method)(x, z, t))
    assert distance(*values) <= 1e-6


def test_arrays_as_timesteps():
    _, ours = pair("DDIMScheduler", {}, STEPS)
    x = start(ours)
    wanted = ours.step(x, ours.timesteps[0], x).prev_sample
    assert torch.equal(ours.step(x, ours.timesteps[0].numpy(), x).prev_sample, wanted)
    assert torch.equal(ours.step(x, np.int64(ours.timesteps[0]), x).prev_sample, wanted)


def kept_frames(scheduler, x):
    """A loop that goes on with two of five frames, as that of ChronoEdit does."""
    for i, t in enumerate(scheduler.timesteps):
        if i == 4:
            x = x[:, :, [0, -1]]
            for j, output in enumerate(scheduler.model_outputs):
                if output is not None:
                    scheduler.model_outputs[j] = output[:, :, [0, -1]]
            if scheduler.last_sample is not None:
                scheduler.last_sample = scheduler.last_sample[:, :, [0, -1]]
        x = scheduler.step(torch.sin(3 * x), t, x, return_dict=False)[0]
    return x


FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
OTHER_ORDERS = {
    "CosineDPMSolverMultistepScheduler": {"solver_order": 1},
    "SASolverScheduler": {"predictor_order": 3, "corrector_order": 4},
}
MULTISTEP = [n for n in NAMES if hasattr(fused.SCHEDULERS[n], "model_outputs")]


def test_frames_that_are_dropped_on_the_way():
    stock, ours = pair("UniPCMultistepScheduler", FLOW, 8)
    x = torch.randn(1, 4, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    with pytest.warns(fused.StockStepWarning, match="looks at model_outputs"):
        mine = kept_frames(ours, x)
    assert distance(mine, kept_frames(stock, x)) <= TOLERANCE


@pytest.mark.parametrize("name", [n for n in MULTISTEP if "Multistep" in n])
def test_the_memory_is_empty_once_timesteps_are_set(name):
    memories = []
    for scheduler in pair(name, plain(name), STEPS):
        loop(scheduler, start(scheduler))
        scheduler.set_timesteps(STEPS)
        memories.append((scheduler.model_outputs, scheduler.lower_order_nums))
    assert memories[0] == memories[1]


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("cut", [1, 2, 3, 5])
@pytest.mark.parametrize("name", MULTISTEP)
def test_stock_steps_go_on_from_fused_ones(monkeypatch, name, cut):
    def run(scheduler, x):
        def look(i, x):
            return x if i + 1 != cut else (scheduler.model_outputs, x)[1]

        return loop(scheduler, x, between=look)[0]

    smooth(monkeypatch)
    for config in ({}, OTHER_ORDERS.get(name, {"solver_order": 3})):
        assert_like_stock(monkeypatch, *pair(name, config, STEPS), run)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of forward gradients
@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "UniPCMultistepScheduler"])
def test_transforms_of_functions(name):
    """vmap, grad, jvp and dual numbers are the stock step's, which draws what it would have."""
    stock, ours = (transformed(scheduler) for scheduler in pair(name, {}, STEPS))
    for wanted, value in zip(stock, ours, strict=True):
        assert distance(value, wanted) <= TOLERANCE


def transformed(scheduler):
    """What transforms make of a step, each with the same noise."""
    x, forward_ad = start(scheduler), torch.autograd.forward_ad

    def step(o, x):
        return scheduler.step(o, scheduler.timesteps[1], x, return_dict=False)[0]

    def dual():
        with forward_ad.dual_level():
            pair = forward_ad.make_dual(x, x)
            return forward_ad.unpack_dual(step(pair, pair)).tangent

    def without_gradients():
        with torch.no_grad():
            return torch.func.vmap(step, randomness="same")(x, x)

    calls = [
        lambda: torch.func.vmap(step, randomness="different")(x, x),
        without_gradients,
        lambda: torch.func.grad(lambda x: step(x, x).sum())(x),
        lambda: torch.func.jvp(lambda x: step(x, x), (x,), (x,))[1],
        dual,
    ]
    for call in calls:
        scheduler.set_timesteps(STEPS)
        torch.manual_seed(0)
        yield call()
