"""Signatures, configurations, saving and loading of every fused scheduler."""

import inspect
import logging
import sys

import diffusers
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop, start
from tests.support.twins import NAMES, assert_equal, fields, made, plain, set_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]
every = pytest.mark.parametrize("name", NAMES)
METHODS = ("__init__", "step", "set_timesteps", "add_noise", "scale_noise", "get_velocity")


@pytest.fixture
def logged(caplog):
    """What diffusers says."""
    logger = logging.getLogger("diffusers")
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = True
    yield caplog
    logger.setLevel(level)
    logger.propagate = propagates


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", fused.SCHEDULERS)
def test_signatures_are_those_of_stock(name, method):
    twin = fused.SCHEDULERS[name]
    wanted = getattr(twin.stock, method, None)
    ours = getattr(twin, method, None)
    assert (ours is None) == (wanted is None)
    if wanted is not None:
        assert inspect.signature(ours) == inspect.signature(wanted)
        assert ours.__doc__ == wanted.__doc__


STEPS = ("step", "step_pred", "step_correct", "add_noise_to_input", *METHODS[3:])


@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("name", fused.SCHEDULERS)
def test_what_is_called_takes_what_stock_takes(name, method):
    """Of the code itself: ``__wrapped__`` would have stock compared with itself. A generic step
    hands its arguments over as they came: those of the code that reads them are compared."""
    twin = fused.SCHEDULERS[name]
    if not hasattr(twin, method):
        return
    own, stock = (
        inspect.signature(getattr(cls, method), follow_wrapped=False).parameters
        for cls in (twin, twin.stock)
    )
    if list(own) == ["self", "args", "kwargs"]:
        reads = twin._correct if method == "step_correct" else twin._call
        own = inspect.signature(reads).parameters
    if "rest" in own:  # of most schedulers
        assert ["self", *list(own)[1:4], *twin.parameters] == list(stock)
        return
    assert [(p.name, p.kind, p.default) for p in own.values()] == [
        (p.name, p.kind, p.default) for p in stock.values()
    ]


@pytest.mark.parametrize("name", fused.SCHEDULERS)
def test_other_arguments_are_refused_as_stock_refuses_them(name):
    twin = fused.SCHEDULERS[name]
    method = "step" if hasattr(twin, "step") else "step_pred"
    required = {"schedule_mode": "log", "noise_mode": "1/t", "tsr_k": 2.0, "tsr_sigma": 0.6}
    scheduler = twin(**required) if name == "RFD4ProteinaScheduler" else twin()
    names = list(inspect.signature(getattr(twin.stock, method)).parameters)[1:]
    x = torch.zeros(1, 3)
    for args, kwargs in (
        ((), {}),
        ((x, 1, x), {"unknown": 1}),
        ((x,) * (len(names) + 1), {}),
        ((x, 1, x), {names[0]: x}),
    ):
        with pytest.raises(TypeError):
            getattr(scheduler, method)(*args, **kwargs)
    for foreign in {"generator", "variance_noise"}.difference(names):
        with pytest.raises(TypeError):
            getattr(scheduler, method)(*[x] * 3, **{foreign: x})


@pytest.mark.parametrize("name", fused.SCHEDULERS)
def test_classes_stand_for_those_that_they_are_named_after(name):
    twin = fused.SCHEDULERS[name]
    module = sys.modules[twin.stock.__module__]
    assert twin.stock is getattr(module, name) and issubclass(twin, twin.stock)
    assert getattr(fused, name) is twin
    assert twin.__module__ == "fastdiff.integrations.diffusers" and twin.__qualname__ == name
    assert twin.order == twin.stock.order if hasattr(twin.stock, "order") else True
    assert twin._compatibles == twin.stock._compatibles


def test_every_stock_scheduler_with_rows_is_there():
    """The others are samplers of tokens, deprecated, or have no single ``step`` of one sample."""
    schedulers = {
        name
        for name in {*dir(diffusers), "ConsistencyDecoderScheduler", "ScoreSdeVpScheduler"}
        if name.endswith("Scheduler") and "Flax" not in name and not name.startswith("_")
    }
    assert set(fused.SCHEDULERS) <= schedulers


def settings(scheduler):
    return {k: v for k, v in scheduler.config.items() if k[0] != "_" and k != "tau_func"}


@every
def test_from_config_and_back(name, logged):
    twin = fused.SCHEDULERS[name]
    original = made(name, fields(plain(name)))[0]
    ours = twin.from_config(original.config)
    back = twin.stock.from_config(ours.config)
    assert type(ours) is twin and type(back) is twin.stock
    assert settings(ours) == settings(original) == settings(back)
    assert logged.records == []


@every
def test_a_saved_scheduler_is_loaded_as_what_it_was(name, logged, tmp_path):
    ours = fused.SCHEDULERS[name].from_config(made(name, fields(plain(name)))[0].config)
    ours.save_pretrained(tmp_path)
    again = fused.SCHEDULERS[name].from_pretrained(tmp_path)
    assert type(again) is type(ours) and settings(again) == settings(ours)
    stock = fused.SCHEDULERS[name].stock.from_pretrained(tmp_path)  # the file serves it, too
    assert settings(stock) == settings(ours)
    assert logged.records == []
    results = []
    for scheduler in (ours, again):
        set_steps(scheduler, 6)
        results.append(loop(scheduler, start(scheduler))[0])
    assert_equal(*results)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip


@every
def test_a_saved_pipeline_is_loaded_with_its_scheduler(name, unet, tmp_path):
    scheduler = fused.SCHEDULERS[name].from_config(made(name, fields(plain(name)))[0].config)
    pipe = diffusers.DDPMPipeline(unet, scheduler)
    pipe.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again.scheduler) is type(scheduler)
    assert settings(again.scheduler) == settings(scheduler)


def test_a_loaded_pipeline_makes_the_same_images(unet, tmp_path):
    pipe = diffusers.DDPMPipeline(unet, fused.DDPMScheduler())
    pipe.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    images = []
    for p in (pipe, again):
        p.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        images.append(p(generator=generator, num_inference_steps=4, output_type="np").images)
    assert abs(images[0] - images[1]).max() < 1e-5  # the model itself rounds differently


def test_people_may_subclass():
    """Their ``step`` keeps its signature, and their class its module."""

    class Mine(fused.DDIMScheduler):
        def step(self, model_output, timestep, sample, mine=1.0, **options):
            return super().step(mine * model_output, timestep, sample, **options)

    assert Mine.__module__ == __name__
    assert "mine" in inspect.signature(Mine.step).parameters
    mine, ours = Mine(), fused.DDIMScheduler()
    mine.set_timesteps(5)
    ours.set_timesteps(5)
    x, out = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    wanted = ours.step(2 * out, ours.timesteps[0], x).prev_sample
    assert torch.equal(mine.step(out, mine.timesteps[0], x, mine=2.0).prev_sample, wanted)
