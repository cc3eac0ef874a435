"""Steps inside of what torch.compile and torch.export trace: the stock operations, which the
compiler fuses, and one warning that says so."""

import copy
import warnings

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from fastdiff.integrations.diffusers import stock as fallback
from tests.support.loops import evaluated, loop, start, takes
from tests.support.step_calls import CALLS, plainly
from tests.support.twins import NAMES, assert_equal, assert_like_stock, pair, plain, values_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6
#: One of each kind of step.
KINDS = (
    "DDIMScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
)  # fmt: skip
every = pytest.mark.parametrize(
    "name", [n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(fallback, "traced", set())
    torch._dynamo.reset()


def calls_of(scheduler, count):
    """(timestep, further arguments) of the first steps. What can be traced does not look a timestep
    up: it is where the loop begins that is told, or a number."""
    name, every = type(scheduler).__name__, scheduler.timesteps
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    for i, t in enumerate(evaluated(scheduler, every)[:count]):
        options = {"return_dict": False} if takes(scheduler, "return_dict") else {}
        if name == "DDPMWuerstchenScheduler":
            t = t.expand(2)
        elif not hasattr(scheduler, "set_begin_index"):
            t = t.item()
        if name == "UnCLIPScheduler":
            options["prev_timestep"] = every[i + 1].item()
        yield t, options


def steps_of(scheduler, count, wrapped):
    """The results of steps that ``wrapped`` makes something of."""
    call, every, results = CALLS.get(type(scheduler).__name__, plainly), scheduler.timesteps, []

    def step(out, t, x, options, before):
        return call(scheduler, out, t, x, before, every, options)

    step, x = wrapped(step), start(scheduler)
    torch.manual_seed(0)  # no generator can be traced
    with torch.no_grad():
        for t, options in calls_of(scheduler, count):
            getattr(scheduler, "scale_model_input", lambda *_: None)(x, t)
            results.append(step(torch.sin(x), t, x, options, results))
            x = results[-1][0]
    return results


def compiled(step):
    return torch.compile(step, fullgraph=True, backend="eager")


def stock_steps(stock, wrapped, count=2):
    """What the stock scheduler does; skips where it cannot be traced."""
    wanted = steps_of(copy.deepcopy(stock), count, lambda step: step)
    try:
        steps_of(copy.deepcopy(stock), count, wrapped)
    except Exception as error:
        pytest.skip(f"the stock step cannot be traced: {str(error).splitlines()[0]}")
    return wanted


def said_by(function, *arguments):
    """What it returns, and the warnings about stock steps."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        done = function(*arguments)
    return done, [str(w.message) for w in seen if w.category is fused.StockStepWarning]


@every
def test_compiled_without_a_graph_break(name):
    stock, ours = pair(name, plain(name), STEPS)
    wanted = stock_steps(stock, compiled)
    torch._dynamo.reset()
    results, said = said_by(steps_of, ours, 2, compiled)
    assert_equal(results, wanted)
    assert len(said) == 1 and "torch.compile or torch.export traces it" in said[0], said


class Exported(torch.nn.Module):
    def __init__(self, step, t, options):
        super().__init__()
        self.step, self.t, self.options = step, t, options

    def forward(self, out, x):
        return values_of(self.step(out, self.t, x, self.options, []))


def exported(step):
    def run(out, t, x, options, before):
        return torch.export.export(Exported(step, t, options), (out, x)).module()(out, x)

    return run


@every
def test_exported(name):
    """A step; counters are no part of what is exported."""
    stock, ours = pair(name, plain(name), STEPS)
    wanted = [values_of(result) for result in stock_steps(stock, exported, 1)]
    results, said = said_by(steps_of, ours, 1, exported)
    assert_equal(results, wanted)
    assert len(said) == 1 and "torch.compile or torch.export traces it" in said[0], said


NOISING = [
    (name, method)
    for name in NAMES
    for method in ("add_noise", "get_velocity", "scale_noise")
    if hasattr(fused.SCHEDULERS[name], method)
]


@pytest.mark.parametrize("trace", ["compile", "export"])
@pytest.mark.parametrize(
    ("name", "method"),
    [c if c[0] in KINDS else pytest.param(*c, marks=pytest.mark.slow) for c in NOISING],
)
def test_the_forward_process(name, method, trace):
    stock, ours = pair(name, plain(name), STEPS)
    values = []
    for scheduler in (stock, ours):
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(2)  # what looks timesteps up cannot be traced

        def run(x, z, t, s=scheduler):
            order = (x, t, z) if method == "scale_noise" else (x, z, t)
            return getattr(s, method)(*order)

        x, z = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        arguments = x, z, scheduler.timesteps[torch.tensor([0, 1, 1])]
        try:
            if trace == "compile":
                traced = torch.compile(run, fullgraph=True, backend="eager")
            else:
                traced = torch.export.export(Called(run), arguments).module()
            values.append(traced(*arguments))
        except Exception as error:
            if scheduler is ours:
                raise
            pytest.skip(f"the stock one cannot be traced: {str(error).splitlines()[0]}")
    torch.testing.assert_close(*values, rtol=0, atol=0)


class Called(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_after_loops_of_rows(name):
    """What rows remember of a loop before is not taken for what the stock scheduler remembers."""
    stock, ours = pair(name, plain(name), STEPS)
    wanted = steps_of(stock, 4, lambda step: step)
    loop(ours, start(ours))
    ours.set_timesteps(STEPS)
    assert_equal(steps_of(ours, 4, compiled), wanted)


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "HeunDiscreteScheduler"])
def test_steps_after_traced_ones_go_on_with_their_memory(name):
    stock, ours = pair(name, plain(name), STEPS)
    traced = 3 if name.startswith("Heun") else 2  # the former in the middle of a step
    wanted = steps_of(stock, traced + 1, lambda step: step)

    def for_a_while(step):
        graph, left = compiled(step), iter(range(traced))
        return lambda *arguments: (step if next(left, None) is None else graph)(*arguments)

    assert_equal(steps_of(ours, traced + 1, for_a_while), wanted)


def test_not_after_rows_of_the_same_loop():
    """The stock step would not know the outputs before."""
    _, ours = pair("DPMSolverMultistepScheduler", {}, STEPS)
    x = start(ours)
    x = ours.step(torch.sin(x), ours.timesteps[0], x).prev_sample
    with pytest.raises(Exception, match="expected a loop that is compiled as a whole, got one"):
        compiled(ours.step)(torch.sin(x), ours.timesteps[1], x)


def test_the_reason_is_true_for_outputs_of_other_classes(monkeypatch):
    class Marked(torch.Tensor):
        pass

    def run(scheduler, x):
        model = lambda y, t: torch.sin(y).as_subclass(Marked)  # noqa: E731
        return loop(scheduler, x, model=model)[0]

    stock, ours = pair("DDIMScheduler", {}, STEPS)
    _, said = said_by(assert_like_stock, monkeypatch, stock, ours, run)
    assert len(said) == 1 and "compile" not in said[0], said
