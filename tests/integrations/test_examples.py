"""The examples, and their pipelines with other schedulers: stock against swapped."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
import stable_diffusion  # noqa: E402
import tiny  # noqa: E402

PIPELINES = ["ddpm", "ddim", "stable_diffusion", "flux"]
pytestmark = [
    pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
]


def check(pipe, call):
    stock_class = type(pipe.scheduler)
    stock, ours = tiny.compare(pipe, **call)
    assert type(pipe.scheduler) is not stock_class
    assert type(pipe.scheduler) is fused.SCHEDULERS[stock_class.__name__]
    assert stock.shape == ours.shape and stock.std() > 0.01
    assert np.abs(stock - ours).max() <= 1 / 255
    fused.restore(pipe)
    assert type(pipe.scheduler) is stock_class
    assert np.array_equal(tiny.draw(pipe, **call)[0], stock)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_draws_the_same_images(name):
    module = importlib.import_module(name)
    check(module.pipeline(), {**module.CALL, "num_inference_steps": 6})


@pytest.mark.parametrize(
    "scheduler,options",
    [
        ("DDIMScheduler", {}),
        ("DDPMScheduler", {"variance_type": "fixed_large"}),
        ("PNDMScheduler", {}),
        ("UniPCMultistepScheduler", {}),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
        ("EulerAncestralDiscreteScheduler", {}),
        ("HeunDiscreteScheduler", {}),
        ("LMSDiscreteScheduler", {}),
        ("KDPM2AncestralDiscreteScheduler", {}),
        ("DEISMultistepScheduler", {}),
        ("LCMScheduler", {}),
    ],
)
def test_stable_diffusion_with_other_schedulers(scheduler, options):
    pipe = stable_diffusion.pipeline(scheduler, **options)
    check(pipe, {**stable_diffusion.CALL, "num_inference_steps": 5})


def from_an_image(scheduler):
    parts = stable_diffusion.pipeline(scheduler).components
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    return pipe, {**stable_diffusion.CALL, "image": image, "strength": 0.6}


@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_from_an_image(scheduler):
    check(*from_an_image(scheduler))


def test_what_has_no_row_is_left_to_the_stock_step_with_the_reason():
    pipe, call = from_an_image("PNDMScheduler")
    stock, _ = tiny.draw(pipe, **call)
    fused.accelerate(pipe)
    with pytest.warns(fused.StockStepWarning, match="timestep 601, where its count expects 951"):
        ours, _ = tiny.draw(pipe, **call)
    assert np.abs(stock - ours).max() <= 1e-5
    # The noised image is fused, and rounded once; from the stock one every bit is the same.
    pipe.scheduler.add_noise = types.MethodType(
        type(pipe.scheduler).stock.add_noise, pipe.scheduler
    )
    assert np.array_equal(tiny.draw(pipe, **call)[0], stock)


def test_a_generator_for_each_image_and_latents_replaced_on_the_way():
    pipe = stable_diffusion.pipeline("EulerAncestralDiscreteScheduler")
    pipe.set_progress_bar_config(disable=True)

    def replaced(pipe, step, t, given):
        return {"latents": given["latents"] * 0.9} if step == 2 else {}

    def images():
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        call = {**stable_diffusion.CALL, "num_inference_steps": 5, "output_type": "np"}
        return pipe(generator=generators, callback_on_step_end=replaced, **call).images

    stock = images()
    fused.accelerate(pipe)
    assert np.abs(stock - images()).max() <= 1 / 255


def test_a_policy_acts_the_same():
    import policy

    stock, ours = policy.compare(2)
    assert stock.std() > 0.1
    torch.testing.assert_close(ours, stock, atol=1e-4, rtol=0)


def test_from_the_command_line(tmp_path):
    out = tmp_path / "both.png"
    line = [sys.executable, EXAMPLES / "ddim.py", "--steps", "3", "--out", out]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "greatest difference" in done.stdout and "fused" in done.stdout
    assert out.stat().st_size > 100
