"""What pipelines ask of a scheduler besides its steps: its class, its methods, timesteps that they
compute themselves."""

import ast
import inspect
import re
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop
from tests.support.twins import NAMES, assert_like_stock

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

EVERY = list(fused.SCHEDULERS)
SOURCES = Path(diffusers.__file__).parent


def exact_tests():
    """(class, methods of the scheduler in what depends on the test) for every exact test of a
    scheduler's type in the pipelines of the installed diffusers."""
    for folder in ("pipelines", "modular_pipelines"):
        for path in sorted((SOURCES / folder).rglob("*.py")):
            text = path.read_text()
            if re.search(r"type\([^()]*scheduler\)|scheduler\.__class__ ", text):
                yield from _exact_tests_in(ast.parse(text))


def _exact_tests_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            tested = ast.unparse(node.test.left)
            if tested.startswith("type(") or tested.endswith(".__class__"):
                inside = "\n".join(map(ast.unparse, (*node.body, *node.orelse)))
                methods = set(re.findall(r"scheduler\.(\w+)\(", inside))
                for value in node.test.comparators:
                    yield ast.unparse(value), methods


def test_what_depends_on_the_exact_type_goes_with_the_twin():
    """A twin is another type than the stock one, so it is asked for what that need not have."""
    found = list(exact_tests())
    assert ("FlowMatchEulerDiscreteScheduler", {"scale_model_input"}) in found
    for name, methods in found:
        assert all(hasattr(fused.SCHEDULERS[name], method) for method in methods), (name, methods)


@pytest.mark.parametrize("name", EVERY)
def test_every_twin_scales_the_models_input(name):
    """By nothing where the stock one has no scale."""
    twin = fused.SCHEDULERS[name]
    assert hasattr(twin, "scale_model_input")
    if not hasattr(twin.stock, "scale_model_input"):
        x = torch.randn(2, 3)
        assert twin.scale_model_input(None, x, 0.5) is x
        assert twin.scale_model_input(None, sample=x, timestep=None) is x


def bria(scheduler):
    transformer = diffusers.BriaTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=12, axes_dims_rope=[2, 2, 4],
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,), down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",), latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    pipe = diffusers.BriaPipeline(transformer, scheduler, vae, None, None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(pipe):
    texts = torch.randn(2, 1, 5, 12, generator=torch.Generator().manual_seed(1))
    return pipe(
        prompt_embeds=texts[0], negative_prompt_embeds=texts[1], height=16, width=16,
        num_inference_steps=4, generator=torch.Generator().manual_seed(2), output_type="latent",
    ).images  # fmt: skip


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
def test_a_pipeline_that_tests_the_exact_type():
    wanted = latents_of(bria(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)))
    by_class = bria(fused.FlowMatchEulerDiscreteScheduler(shift=3.0))
    swapped = bria(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    for pipe in (by_class, fused.accelerate(swapped, report=None)):
        torch.testing.assert_close(latents_of(pipe), wanted, rtol=0, atol=1e-5)


def takes_train_steps(name):
    return "num_train_timesteps" in inspect.signature(fused.SCHEDULERS[name].__init__).parameters


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", [n for n in EVERY if takes_train_steps(n)])
def test_few_training_timesteps_are_no_reason_to_leave_one(name, steps):
    """A pipeline that computes its own sigmas needs no more of them."""
    twin, lines = fused.SCHEDULERS[name], []
    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    try:
        stock = twin.stock(num_train_timesteps=steps, **options)
    except (IndexError, ZeroDivisionError):
        pytest.skip("the stock scheduler cannot be made")
    assert type(fused.accelerate(stock, report=lines.append)) is twin, lines


#: Flow models, whose sigmas are times: those of others are of the training timesteps.
OWN_SIGMAS = [
    name
    for name in NAMES
    if name.startswith(("FlowMatch", "LTX"))
    and "sigmas" in inspect.signature(fused.SCHEDULERS[name].set_timesteps).parameters
]


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", OWN_SIGMAS)
def test_sigmas_of_the_pipeline_beside_one_training_timestep(monkeypatch, name):
    """As the pipelines of ACE-Step and of Stable Audio 3 set them."""
    stock = fused.SCHEDULERS[name].stock(num_train_timesteps=1)
    ours = fused.accelerate(stock, report=None)
    assert isinstance(ours, fused.SCHEDULERS[name])
    for scheduler in (stock, ours):
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.2, 5).tolist())

    def run(scheduler, x):
        return loop(scheduler, x, model=lambda y, t: (0.3 * torch.sin(3 * y)).to(y.dtype))[0]

    assert_like_stock(monkeypatch, stock, ours, run)
