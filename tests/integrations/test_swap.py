"""accelerate, restore and portable, on whatever holds schedulers."""

import copy
import dataclasses
import functools
import json
import types
from collections import deque, namedtuple

import diffusers
import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from fastdiff import solvers
from tests.support.loops import loop, start
from tests.support.twins import NAMES, assert_equal, fields, made, pair, plain

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


class Slots:
    __slots__ = ("scheduler",)

    def __init__(self, scheduler):
        self.scheduler = scheduler


class Callable(Policy):
    """As a modular pipeline is."""

    def __call__(self):
        return self.noise_scheduler


@dataclasses.dataclass(frozen=True)
class Frozen:
    scheduler: object


class ReadOnly(Policy):
    @property
    def scheduler(self):
        return self.noise_scheduler


Two = namedtuple("Two", "first second")

HOLDERS = {
    "callable inside": (lambda s: Policy(Callable(s)), lambda o: o.noise_scheduler()),
    "slots": (Slots, lambda o: o.scheduler),
    "class attribute": (lambda s: type("C", (), {"s": s})(), lambda o: o.s),
    "tuple": (lambda s: Policy((1, s)), lambda o: o.noise_scheduler[1]),
    "tuple in a tuple": (lambda s: [(0, (s, s))], lambda o: o[0][1][1]),
    "named tuple": (lambda s: {"a": Two(s, 2)}, lambda o: o["a"].first),
    "deque": (lambda s: deque([s]), lambda o: o[0]),
    "property": (ReadOnly, lambda o: o.scheduler),
    "namespace": (lambda s: types.SimpleNamespace(a=Policy(s)), lambda o: o.a.noise_scheduler),
}
CLOSED = {
    "frozen": (Frozen, "cannot assign"),
    "tuple alone": (lambda s: (s,), "a tuple"),
    "set": (lambda s: {s}, "a set"),
    "partial": (lambda s: functools.partial(print, s), "a partial"),
    "method": (lambda s: [s.step], "its method step"),
}


@pytest.mark.parametrize("case", HOLDERS)
def test_holders_of_all_kinds(case):
    make, find = HOLDERS[case]
    stock, lines = diffusers.DDIMScheduler(), []
    holder = make(stock)
    fused.accelerate(holder, report=lines.append)
    assert type(find(holder)) is fused.DDIMScheduler
    assert all(line.endswith("DDIMScheduler is fused now") for line in lines) and lines
    assert find(fused.restore(holder)) is stock


@pytest.mark.parametrize("case", CLOSED)
def test_holders_that_cannot_be_changed(case):
    """Nothing is claimed of them, and others are swapped all the same."""
    make, reason = CLOSED[case]
    lines, after = [], Policy(diffusers.DDPMScheduler())
    holder = [make(diffusers.DDIMScheduler()), after]
    holder = holder if case != "tuple alone" else (holder[0][0], after)
    fused.accelerate(holder, report=lines.append)
    assert type(after.noise_scheduler) is fused.DDPMScheduler
    assert "left DDIMScheduler as it is: " in lines[0] and reason in lines[0]
    assert lines[1].endswith("DDPMScheduler is fused now")


@pytest.mark.parametrize("name", ["convert_model_output", "step", "set_timesteps"])
def test_methods_of_ones_own_are_not_lost(name):
    stock, lines = diffusers.DPMSolverMultistepScheduler(), []
    setattr(stock, name, functools.partial(getattr(stock, name)))
    assert fused.accelerate(stock, report=lines.append) is stock
    assert lines[0].endswith(f"as it is: it has a {name} of its own")


def halved(scheduler):
    """With an x0 of half the size."""
    convert = scheduler.convert_model_output

    def own(*args, **options):
        return 0.5 * convert(*args, **options)

    scheduler.convert_model_output = own
    return scheduler


class Halved(fused.DPMSolverMultistepScheduler):
    def convert_model_output(self, *args, **options):
        return 0.5 * super().convert_model_output(*args, **options)


def test_helpers_of_a_fused_scheduler_are_called():
    stock, ours = pair("DPMSolverMultistepScheduler", {}, 5)
    subclass = Halved()
    subclass.set_timesteps(5)
    wanted, _ = loop(halved(stock), start(stock))
    for scheduler in (halved(ours), subclass):
        with pytest.warns(fused.StockStepWarning, match="convert_model_output of its own"):
            assert_equal(loop(scheduler, start(stock))[0], wanted)


@pytest.mark.parametrize("kept", [True, False], ids=["swapped", "made"])
def test_the_restored_one_stands_where_the_fused_one_stood(kept):
    stock = diffusers.DDIMScheduler()
    stock.set_timesteps(10)
    ours = quietly(stock) if kept else fused.DDIMScheduler()
    ours.set_timesteps(50)
    again = fused.restore(ours)
    assert (again is stock) == kept
    assert again.num_inference_steps == 50 and torch.equal(again.timesteps, ours.timesteps)


def test_philox_is_saved(tmp_path):
    """And let pass by the stock class."""
    pipe = quietly(pipeline(diffusers.DDPMScheduler()), noise="philox")
    pipe.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert again.scheduler.noise == "philox"
    assert fused.DDIMScheduler.from_config(again.scheduler.config).noise == "philox"
    assert copy.deepcopy(again.scheduler).noise == "philox"
    stock = diffusers.DDPMScheduler.from_pretrained(tmp_path, subfolder="scheduler")
    assert dict(fused.restore(again.scheduler).config).items() <= dict(stock.config).items()
    assert "_fastdiff_noise" not in fused.restore(again.scheduler).config


def test_what_a_scheduler_does():
    """Solver and levels of a scheduler, stock or fused; of a multistep one from any step on."""
    stock = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True)
    stock.set_timesteps(5)
    (path,) = fused.sampler_of(stock, begin=2).paths
    assert np.allclose([point.rho for point in path.points], stock.sigmas[2:], rtol=1e-6)
    options = {"lower_order_final": True, "euler_at_final": True}
    assert fused.sampler_of(stock).solver == solvers.DPMpp2M("midpoint", **options)
    with pytest.warns(DeprecationWarning, match="plan is now called sampler_of"):
        assert fused.plan(quietly(stock)) == fused.sampler_of(stock)
    with pytest.raises(TypeError, match="scheduler: expected one of DDPMScheduler, .* got 1"):
        fused.sampler_of(1)
