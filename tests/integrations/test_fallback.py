"""What has no row is left to the stock step: the same numbers, and one warning that says why."""

import re
import warnings

import diffusers
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.integrations.cases import BETAS, FLOW, THRESHOLD, X0, V
from tests.support.loops import loop, model_for, start, takes
from tests.support.step_calls import CALLS, plainly
from tests.support.twins import NAMES, assert_equal, distance, pair, plain

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6
SDE = {"algorithm_type": "sde-dpmsolver++"}

# class, config, options of step, what the warning names
REFUSED = [
    ("DDPMScheduler", {"variance_type": "learned"}, {}, "variance_type 'learned'"),
    ("PNDMScheduler", {"skip_prk_steps": False}, {}, "skip_prk_steps=False"),
    ("PNDMScheduler", {"skip_prk_steps": True, **X0}, {}, "prediction_type 'sample'"),
    ("DDIMScheduler", {**THRESHOLD, "dynamic_thresholding_ratio": 0.0}, {}, "quantile must be in"),
    ("DDIMScheduler", {**THRESHOLD, "sample_max_value": 0.5}, {}, "highest must be at least 1"),
    ("EulerDiscreteScheduler", {**BETAS, **V}, {"s_churn": 8.0}, "churn with a model"),
    ("EDMEulerScheduler", {}, {"s_churn": 8.0}, "s_churn"),
    ("FlowMatchHeunDiscreteScheduler", {}, {"s_churn": 8.0}, "s_churn"),
    (
        "DPMSolverMultistepScheduler",
        {"variance_type": "learned", **V},
        {},
        "variance_type 'learned'",
    ),
    ("DPMSolverMultistepScheduler", {**SDE, "solver_order": 3}, {}, "solver_order 3 of an SDE"),
    ("DPMSolverMultistepScheduler", FLOW | V, {}, "a v model on flow sigmas"),
    ("SASolverScheduler", {"variance_type": "learned_range"}, {}, "variance_type 'learned_range'"),
    (
        "DPMSolverSinglestepScheduler",
        {**SDE, "solver_order": 3, "solver_type": "heun"},
        {},
        "solver_type 'heun' of an SDE",
    ),
    (
        "UniPCMultistepScheduler",
        {"solver_p": diffusers.DPMSolverMultistepScheduler()},
        {},
        "solver_p",
    ),
]


def doubled(model):
    """Twice the channels, as of a model with a learned variance."""
    return lambda y, t: torch.cat([model(y, t), 0.1 * y], dim=1)


def run(scheduler, options, x=None, **kwargs):
    """The results, or the error, and the warnings about stock steps."""
    x = start(scheduler) if x is None else x
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            done = loop(scheduler, x, **options, **kwargs)[0]
        except Exception as error:
            done = type(error)
    return done, [str(w.message) for w in seen if w.category is fused.StockStepWarning]


@pytest.mark.parametrize(("name", "config", "options", "reason"), REFUSED)
def test_one_reason_and_the_same_numbers(name, config, options, reason):
    stock, ours = pair(name, config, STEPS)
    model = model_for(stock)
    if "learned" in str(config):
        model = doubled(model)
    theirs, _ = run(stock, options, model=model)
    mine, said = run(ours, options, model=model)
    if isinstance(theirs, type):  # the error says it all
        assert mine is theirs and not said
        return
    assert_equal(mine, theirs)
    assert len(said) == 1, said
    assert said[0].startswith(f"{name}: the stock step is used") and reason in said[0]


@pytest.mark.parametrize("variance", ["learned", "learned_range"])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("DPMSolverMultistepScheduler", {}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **THRESHOLD}),
        ("DPMSolverMultistepInverseScheduler", {}),
        ("DPMSolverSinglestepScheduler", {}),
    ],
)
def test_a_learned_variance_is_cut_off(name, config, variance):
    """By these, which take the mean alone: the very steps of a model of the mean."""
    stock, ours = pair(name, {"variance_type": variance, **config}, STEPS)
    mean, x = model_for(stock), start(stock, (2, 3, 8, 8))
    theirs, _ = run(stock, {}, x, model=doubled(mean))
    mine, said = run(ours, {}, x, model=doubled(mean))
    assert not said
    assert_equal(mine, run(pair(name, config, STEPS)[1], {}, x, model=mean)[0])
    for a, b in zip((r[0] for r in mine), (r[0] for r in theirs), strict=True):
        assert distance(a, b) < 2e-5 * float(b.abs().max())  # stock steps are in float32


@pytest.mark.parametrize("name", NAMES)
def test_model_outputs_of_other_classes(name):
    """Only plain tensors are looked into."""

    class Marked(torch.Tensor):
        pass

    stock, ours = pair(name, plain(name), STEPS)
    model = model_for(stock)

    def marked(y, t):
        return model(y, t).as_subclass(Marked)

    theirs, _ = run(stock, {}, model=marked)
    mine, said = run(ours, {}, model=marked)
    assert len(said) == 1 and "another class than Tensor" in said[0]
    assert_equal(mine, theirs)


def test_timesteps_that_were_not_set():
    stock, ours = pair("DDIMScheduler", plain("DDIMScheduler"), STEPS)
    x, out = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    with pytest.warns(fused.StockStepWarning, match="timestep 7, which is none"):
        value = ours.step(out, 7, x)
    assert torch.equal(value.prev_sample, stock.step(out, 7, x).prev_sample)


@pytest.mark.parametrize("name", NAMES)
def test_without_timesteps_the_error_is_that_of_stock(name):
    """And nothing is said before it."""
    errors = []
    for scheduler in (fused.SCHEDULERS[name].stock(), fused.SCHEDULERS[name]()):
        x = torch.zeros(1, 3, 4, 4)
        try:
            scheduler.step(x, 0.0 if fused.SCHEDULERS[name]._floating else 0, x)
            errors.append(None)
        except Exception as error:
            errors.append((type(error), str(error)))
    assert errors[0] == errors[1]


def steps_at(scheduler, places):
    """The samples of steps at these of its timesteps, ended by an error if there is one."""
    name, every = type(scheduler).__name__, scheduler.timesteps
    torch.manual_seed(0)  # for schedulers that draw without a generator
    x, results, done = start(scheduler), [], []
    for k in (k for k in places if k < len(every)):
        options = {"generator": torch.Generator().manual_seed(k)}
        options = options if takes(scheduler, "generator") else {}
        if name == "UnCLIPScheduler":
            options["prev_timestep"] = every[k + 1] if k + 1 < len(every) else None
        t = every[k].expand(len(x)) if name == "DDPMWuerstchenScheduler" else every[k]
        call = CALLS.get(name, plainly)
        getattr(scheduler, "scale_model_input", lambda *_: None)(x, t)
        try:
            results.append(call(scheduler, torch.sin(x), t, x, results, every, options))
        except Exception as error:
            return [*done, error]
        x = results[-1]["prev_sample"]
        done.append(x)
    return done


def assert_same_or_refused(mine, theirs):
    """The same numbers, or an error: of the same type, or one that says what was expected."""
    if isinstance(mine[-1], Exception):
        error, other = mine.pop(), theirs[len(mine)]
        stated = re.match(r"\w+\.step: expected .*, got ", str(error))
        assert stated or type(error) is type(other), (error, other)
    else:
        assert len(mine) == len(theirs)
    for value, wanted in zip(mine, theirs, strict=False):
        # what the stock steps lose in float32 is far from what another timestep makes
        atol = 1e-3 * max(1.0, float(wanted.std().nan_to_num()))
        torch.testing.assert_close(value, wanted, rtol=0, atol=atol, equal_nan=True)


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("places", [(0, 2), (1, 0), (0, 0, 1), (0, 1, 3)], ids=str)
def test_timesteps_out_of_order(name, places):
    """Some schedulers look at the timestep, some count their steps, some do both."""
    stock, ours = (steps_at(scheduler, places) for scheduler in pair(name, plain(name), STEPS))
    assert_same_or_refused(ours, stock)


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", NAMES)
def test_one_step_too_many(name):
    outcomes = []
    for scheduler in pair(name, plain(name), 3):
        loop(scheduler, start(scheduler))
        outcomes.append(steps_at(scheduler, [len(scheduler.timesteps) - 1]))
    theirs, mine = outcomes
    assert_same_or_refused(mine, theirs)
