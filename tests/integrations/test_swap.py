"""accelerate, restore and portable, on whatever holds schedulers."""

import json

import diffusers
import pytest
import torch
from loops import loop, start
from twins import NAMES, assert_equal, fields, made, pair, plain

import fastdiff.integrations.diffusers as fused

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]


def quietly(obj, **options):
    return fused.accelerate(obj, report=None, **options)


class Policy:
    """As people write them: a plain object with a scheduler among other things."""

    def __init__(self, scheduler):
        self.noise_scheduler, self.horizon = scheduler, 16


class Agent(torch.nn.Module):
    """A module with a policy, which has one, and with lists and dicts of schedulers."""

    def __init__(self, scheduler):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.inner = torch.nn.Sequential(torch.nn.Identity())
        self.inner.scheduler = scheduler
        self.policy = Policy(scheduler)
        self.others = {"a": [diffusers.DDIMScheduler()], "b": diffusers.AmusedScheduler(0)}


def pipeline(scheduler):
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    pipe = diffusers.DDPMPipeline(unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_and_back(name):
    """A twin of the same settings; the scheduler itself is as it was."""
    stock, _ = made(name, fields(plain(name)))
    ours = quietly(stock)
    assert type(ours) is fused.SCHEDULERS[name] and type(stock) is ours.stock
    assert dict(ours.config) == dict(stock.config)
    assert fused.restore(ours) is stock
    assert type(fused.restore(fused.SCHEDULERS[name](**plain(name)))) is ours.stock


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_that_were_set_before(name):
    stock, ours = pair(name, plain(name), 5)
    assert_equal(loop(quietly(stock), start(stock))[0], loop(ours, start(stock))[0])


def test_pipelines_make_the_same_images():
    pipe = pipeline(diffusers.DDPMScheduler())
    images = []
    for change in (lambda p: p, quietly, fused.restore):
        change(pipe)
        generator = torch.Generator().manual_seed(0)
        images.append(pipe(generator=generator, num_inference_steps=4, output_type="np").images)
        images[-1] = images[-1], type(pipe.scheduler)
    (stock, first), (ours, second), (back, third) = images
    assert abs(ours - stock).max() < 1e-5 and abs(back - stock).max() < 1e-5
    assert (first, second, third) == (
        diffusers.DDPMScheduler, fused.DDPMScheduler, diffusers.DDPMScheduler,
    )  # fmt: skip


def test_nested_objects_and_modules():
    """Every place is found and told of, a scheduler that is held twice has one twin."""
    scheduler, lines = diffusers.DPMSolverMultistepScheduler(), []
    agent = Agent(scheduler)
    weights = dict(agent.state_dict())
    assert fused.accelerate(agent, report=lines.append) is agent
    twin = agent.policy.noise_scheduler
    assert type(twin) is fused.DPMSolverMultistepScheduler and agent.inner.scheduler is twin
    assert type(agent.others["a"][0]) is fused.DDIMScheduler
    assert type(agent.others["b"]) is diffusers.AmusedScheduler
    assert agent.state_dict().keys() == weights.keys() and agent.policy.horizon == 16
    said = {line.split(":")[0]: line for line in lines}
    assert "is fused now" in said["others['a'][0]"]
    assert "left AmusedScheduler as it is: its samples are tokens" in said["others['b']"]
    assert {path for path, line in said.items() if "DPMSolver" in line} & {
        "inner.scheduler", "policy.noise_scheduler",
    }  # fmt: skip
    fused.restore(agent)
    assert agent.policy.noise_scheduler is agent.inner.scheduler is scheduler
    assert type(agent.others["a"][0]) is diffusers.DDIMScheduler


def test_twice_is_as_good_as_once():
    policy, lines = quietly(Policy(diffusers.DDIMScheduler())), []
    twin = policy.noise_scheduler
    fused.accelerate(policy, noise="philox", report=lines.append)
    assert policy.noise_scheduler is twin and twin.noise == "philox"
    assert lines == ["noise_scheduler: DDIMScheduler is fused already"]


def test_why_one_is_left():
    class DDIMScheduler(diffusers.DDIMScheduler):  # somebody's own, with the name of the stock one
        pass

    class Mine(diffusers.DDIMScheduler):
        pass

    lines = []
    unfit = diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=3)
    holder = {"namesake": DDIMScheduler(), "own": Mine(), "unfit": unfit}
    before = dict(holder)
    fused.accelerate(holder, report=lines.append)
    assert holder == before
    reasons = [line.partition("as it is: ")[2] for line in lines]
    assert reasons[0] == "it is not the DDIMScheduler of diffusers but another class of that name"
    assert reasons[1] == "there is no fused scheduler for it"
    assert reasons[2].startswith("there is no row for solver_order 3 of an SDE")


def test_arguments_that_are_refused():
    with pytest.raises(TypeError, match="obj: expected a scheduler .* got Linear without any"):
        fused.accelerate(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match='noise: expected "torch" or "philox", got \'mine\''):
        fused.accelerate(diffusers.DDIMScheduler(), noise="mine")


def test_portable(tmp_path):
    """What is saved in it names the stock class; afterwards the fused one is back, also after an
    error."""
    pipe = quietly(pipeline(diffusers.DDPMScheduler()))
    twin = pipe.scheduler
    with fused.portable(pipe):
        pipe.save_pretrained(tmp_path)
    assert pipe.scheduler is twin
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "DDPMScheduler"]
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    assert type(again.scheduler) is diffusers.DDPMScheduler
    with pytest.raises(ZeroDivisionError), fused.portable(pipe):
        1 / 0  # noqa: B018
    assert pipe.scheduler is twin


def test_what_was_changed_meanwhile_is_in_the_restored_one():
    ours = quietly(diffusers.DDIMScheduler())
    ours.register_to_config(steps_offset=1)
    assert fused.restore(ours).config.steps_offset == 1
