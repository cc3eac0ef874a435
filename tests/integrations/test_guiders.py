"""Guiders of modular pipelines and their twins: the same outputs, options and steps."""

import copy
import inspect
import pickle
from contextlib import nullcontext

import pytest
import torch
from diffusers import guiders as stock
from diffusers.hooks import LayerSkipConfig, SmoothedEnergyGuidanceConfig
from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks
from diffusers.modular_pipelines.modular_pipeline import BlockState

import fastdiff.integrations.diffusers as fused
from tests.support.helpers import assert_within, same_bits

NAMES = list(fused.GUIDERS)
STEPS = 8
OPTIONS = [
    {},
    {"guidance_scale": 3.0},
    {"guidance_scale": 0.7, "use_original_formulation": True},
    {"guidance_scale": 1.0},
    {"guidance_scale": 0.0, "use_original_formulation": True},
    {"guidance_scale": 4.0, "guidance_rescale": 0.7},
    {"guidance_scale": 2.0, "guidance_rescale": 1.0, "use_original_formulation": True},
    {"guidance_scale": 5.0, "start": 0.3, "stop": 0.8},
    {"guidance_scale": 5.0, "guidance_rescale": 0.5, "stop": 0.4},
    {"enabled": False},
]
every = pytest.mark.parametrize("name", NAMES)
# Those whose weights come from the outputs; the stock singular vectors are those of float32.
DIRECTED = ["AdaptiveProjectedGuidance", "TangentialClassifierFreeGuidance"]
TOLERANCE = {"TangentialClassifierFreeGuidance": 5e-5}
# The name of the options of the third output.
WEAKENED = {
    "SkipLayerGuidance": "skip_layer_guidance",
    "PerturbedAttentionGuidance": "perturbed_guidance",
    "SmoothedEnergyGuidance": "seg_guidance",
}


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    """The outputs here are small."""
    for name in DIRECTED:
        monkeypatch.setattr(fused.GUIDERS[name], "least", 0)


def pair(name, **options):
    """The stock guider and ours."""
    skips = LayerSkipConfig(indices=[0], fqn="blocks")
    if name == "AutoGuidance":
        options |= {"auto_guidance_config": skips, "auto_guidance_layers": None}
    if name in WEAKENED:
        prefix = WEAKENED[name]
        defaults = {f"{prefix}_scale": 0.0, f"{prefix}_start": 0.0, f"{prefix}_stop": 1.0}
        options = defaults | options
        if name == "SmoothedEnergyGuidance":
            options["seg_guidance_config"] = SmoothedEnergyGuidanceConfig(indices=[0], fqn="blocks")
        else:
            options["perturbed_guidance_config" if prefix[0] == "p" else "skip_layer_config"] = (
                skips
            )
    return getattr(stock, name)(**options), getattr(fused, name)(**options)


def outputs(dtype=torch.float32, shape=(2, 4, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    uncond, step = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    return (uncond + 0.5 * step).to(dtype), uncond.to(dtype)


def weakened(cond):
    return (0.8 * cond.double() + 0.1 * cond.double().sin()).to(cond.dtype)


def guide(guider, cond, uncond, step=0, weak=None):
    """As the pipelines do: one model call for each prepared input, then the guider."""
    guider.set_state(step=step, num_inference_steps=STEPS, timestep=None)
    made = guider.prepare_inputs({"prompt": (cond, uncond)})
    for state in made:
        guider._count_prepared += 1
        state.noise_pred = state.prompt
        if getattr(state, guider._identifier_key) in ("pred_cond_skip", "pred_cond_seg"):
            state.noise_pred = weakened(cond) if weak is None else weak
    return guider(made), len(made)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@every
def test_the_same_outputs_in_the_same_steps(name, options):
    theirs, ours = pair(name, **options)
    cond, uncond = outputs()
    for step in range(STEPS):
        (wanted, asked), (mine, count) = (guide(g, cond, uncond, step) for g in (theirs, ours))
        assert count == asked and mine.keys() == wanted.keys()
        for key in wanted:
            if wanted[key] is None:
                assert mine[key] is None
                continue
            assert mine[key].dtype == wanted[key].dtype
            assert_within(mine[key], wanted[key], TOLERANCE.get(name, 5e-6), key)
    assert "_said" not in vars(ours)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", WEAKENED)
@pytest.mark.filterwarnings("ignore:.* no other for guidance_rescale of three outputs")
def test_the_output_of_a_weakened_network(name, options, dtype):
    """Beside the unconditional one, in its place, and where it has no step."""
    prefix = WEAKENED[name]
    options = {f"{prefix}_scale": 2.0, f"{prefix}_start": 0.2, f"{prefix}_stop": 0.9, **options}
    theirs, ours = pair(name, **options)
    cond, uncond = outputs(dtype)
    counts = set()
    for step in range(STEPS):
        (wanted, asked), (mine, count) = (guide(g, cond, uncond, step) for g in (theirs, ours))
        assert count == asked and mine.pred.dtype == wanted.pred.dtype
        counts.add(count)
        if count == 3 and options.get("guidance_rescale"):
            assert same_bits(mine.pred, wanted.pred)
            continue
        exact = [v.double() for v in (cond, uncond, weakened(cond))]
        truth = guide(theirs, exact[0], exact[1], step, exact[2])[0].pred
        once = torch.finfo(dtype).eps / 2 * truth.abs()
        error = (wanted.pred - truth).abs()
        assert_within(mine.pred, truth, torch.maximum(error, once) + 5e-6)
    assert counts <= {1, 2, 3} and (options.get("enabled") is False or len(counts) > 1)


@pytest.mark.parametrize("name", WEAKENED)
def test_a_gradient_of_three_outputs(name):
    grads = []
    for guider in pair(name, **{f"{WEAKENED[name]}_scale": 2.0}):
        given = [v.requires_grad_() for v in (*outputs(), weakened(outputs()[0]))]
        guider.forward(*given).pred.square().sum().backward()
        grads.append([v.grad for v in given])
    for mine, wanted in zip(*grads, strict=True):
        assert_within(mine, wanted, 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", OPTIONS[1:7], ids=str)
@every
def test_half_precision_is_no_further_from_the_truth(name, options, dtype):
    theirs, ours = pair(name, **options)
    cond, uncond = outputs(dtype)
    truth = guide(theirs, cond.double(), uncond.double())[0].pred
    errors = [(guide(g, cond, uncond)[0].pred - truth).abs() for g in (ours, theirs)]
    once = torch.finfo(dtype).eps / 2 * truth.abs()
    assert_within(errors[0], 0.0, torch.maximum(errors[1], once) + 1e-5)


@every
def test_options_that_are_changed_later(name):
    theirs, ours = pair(name, guidance_scale=3.0)
    cond, uncond = outputs()
    for change in ({"guidance_scale": 6.0}, {"guidance_rescale": 0.6}, {"_enabled": False}):
        for guider in (theirs, ours):
            vars(guider).update(change)
        wanted, mine = (guide(g, cond, uncond)[0].pred for g in (theirs, ours))
        assert_within(mine, wanted, TOLERANCE.get(name, 5e-6), str(change))


@every
def test_what_does_not_fit_is_the_stock_mix(name):
    """With one warning for each reason."""
    cond, uncond = outputs()
    cases = [
        ({}, (cond, uncond[:1]), "cond: expected .* like uncond"),
        ({}, (cond.bfloat16(), uncond), "cond: expected .* like uncond"),
        ({"guidance_rescale": 1.5}, (cond, uncond), r"rescale: expected a (finite )?number in"),
        ({"guidance_rescale": 0.5}, (cond.clone().requires_grad_(), uncond), "a gradient"),
    ]
    if name == "TangentialClassifierFreeGuidance":
        del cases[0]  # which the stock mix refuses, too
    for options, given, reason in cases:
        theirs, ours = pair(name, **options)
        wanted = theirs.forward(*given).pred
        with pytest.warns(fused.StockStepWarning, match=f"^{name}: the stock mix .*{reason}"):
            assert same_bits(ours.forward(*given).pred, wanted)
        assert same_bits(ours.forward(*given).pred, wanted)  # no second warning


@every
def test_gradients(name):
    grads = []
    for guider in pair(name, guidance_scale=3.0):
        given = [v.requires_grad_() for v in outputs()]
        falls_back = name in DIRECTED and type(guider).__module__ == fused.__name__
        with pytest.warns(fused.StockStepWarning) if falls_back else nullcontext():
            guider.forward(*given).pred.square().sum().backward()
        grads.append([v.grad for v in given])
    for mine, wanted in zip(*grads, strict=True):
        assert_within(mine, wanted, 1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"eta": 0.0},
        {"eta": 0.4, "adaptive_projected_guidance_rescale": 2.0},
        {"eta": 0.4, "adaptive_projected_guidance_rescale": 2.0, "use_original_formulation": True},
        {"adaptive_projected_guidance_rescale": 0.0, "guidance_rescale": 0.5},
    ],
    ids=str,
)
def test_projected_guidance(options):
    for given in (outputs(), outputs(shape=(3, 4, 2, 6, 5), seed=1)):
        theirs, ours = pair("AdaptiveProjectedGuidance", guidance_scale=6.0, **options)
        wanted, mine = (guide(g, *given)[0].pred for g in (theirs, ours))
        assert_within(mine, wanted, 1e-5)
        assert "_said" not in vars(ours)


@pytest.mark.parametrize("name", DIRECTED)
def test_small_outputs_are_mixed_by_the_stock_class(name, monkeypatch):
    monkeypatch.undo()
    theirs, ours = pair(name, guidance_scale=6.0)
    for shape, small in (((2, 4, 6, 5), True), ((2, 4, 64, 80), False)):
        wanted, mine = (guide(g, *outputs(shape=shape))[0].pred for g in (theirs, ours))
        assert same_bits(mine, wanted) == small
        assert_within(mine, wanted, 20 * TOLERANCE.get(name, 5e-6))


@pytest.mark.parametrize("name", ["momentum", "norm_dim"])
def test_projected_guidance_with_what_has_no_sums(name):
    options = {f"adaptive_projected_guidance_{name}": -1}
    theirs, ours = pair("AdaptiveProjectedGuidance", **options)
    wanted = guide(theirs, *outputs())[0].pred
    with pytest.warns(fused.StockStepWarning, match=f"no other for adaptive_.*{name}"):
        assert same_bits(guide(ours, *outputs())[0].pred, wanted)


@every
def test_a_guider_as_diffusers_knows_them(name, tmp_path):
    theirs, ours = pair(name, guidance_scale=3.0, guidance_rescale=0.2)
    assert isinstance(ours, type(theirs)) and type(ours).__module__ == fused.__name__
    for method in ("__init__", "forward", "prepare_inputs"):
        kinds = [inspect.signature(getattr(type(g), method)).parameters for g in (ours, theirs)]
        assert list(kinds[0]) == list(kinds[1])
    assert type(ours).from_config(theirs.config).config == theirs.config
    assert ours.new(guidance_scale=2.0).guidance_scale == 2.0
    for same in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(same) is type(ours) and same.config == ours.config


def test_in_a_modular_pipeline():
    """The guider is a component like others."""
    pipe = StableDiffusionXLAutoBlocks().init_pipeline()
    assert type(pipe.guider) is stock.ClassifierFreeGuidance
    guider = fused.ClassifierFreeGuidance.from_config(pipe.guider.config)
    pipe.update_components(guider=guider)
    assert pipe.guider is guider
    cond, uncond = outputs()
    made = [BlockState(noise_pred=cond), BlockState(noise_pred=uncond)]
    for state, key in zip(made, guider._input_predictions, strict=True):
        setattr(state, guider._identifier_key, key)
    scale = guider.guidance_scale
    assert_within(pipe.guider(made).pred, uncond + scale * (cond - uncond), 1e-5)
