"""What pipelines, callbacks and people rely on, of every fused scheduler."""

import copy
import pickle

import pytest
import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import loop, model_for, start
from tests.support.twins import (
    NAMES,
    assert_equal,
    assert_like_stock,
    in_single,
    pair,
    plain,
    set_steps,
    smooth,
    stepping_with,
    values_of,
    widened,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]

STEPS = 6
# Those that weigh outputs which they have not seen, or that are one step late.
STOCK_FROM_THE_MIDDLE = {"LMSDiscreteScheduler", "PNDMScheduler"}

# One step of it is 100 times a difference of numbers of up to 4: 400 * 2**-24.
FLOAT32 = {"DDPMWuerstchenScheduler": 2.4e-5}

every = pytest.mark.parametrize("name", NAMES)


def generators():
    return [torch.Generator().manual_seed(seed) for seed in (11, 12)]


class Tape:
    """A model that is recorded, and played back in another dtype."""

    def __init__(self, scheduler, dtype):
        self.model, self.dtype, self.outputs = model_for(scheduler), dtype, []

    def record(self, y, t):
        out = self.model(y.float(), t).to(self.dtype)
        self.outputs.append(out)
        return out

    def play(self, dtype):
        outputs = iter(self.outputs)
        return lambda y, t: next(outputs).to(dtype)


@pytest.mark.covered(times=2)
@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@every
def test_half_precision_is_no_further_from_the_truth_than_stock(monkeypatch, name, dtype, steps):
    """Steps from the states and outputs of the stock run: its own errors add up in what it
    remembers, and do not count."""
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), steps)
    exact = widened(stock)
    tape, x = Tape(stock, dtype), start(stock, dtype=dtype)
    theirs, _ = loop(stock, x, model=tape.record)
    states = [result["prev_sample"] for result in theirs]
    mine, _ = loop(ours, x, model=tape.play(dtype), between=lambda i, _: states[i])
    in_single(monkeypatch, exact, dtype)
    truth, _ = loop(
        exact,
        x.double(),
        model=tape.play(torch.float64),
        between=lambda i, _: states[i].double(),
    )
    for one, other, true in zip(mine, theirs, truth, strict=True):
        for value, stock_value, wanted in zip(*map(values_of, (one, other, true)), strict=True):
            assert value.dtype == stock_value.dtype
            slack = FLOAT32.get(name, 1e-5) * max(1.0, float(wanted.abs().max()))
            assert (
                (value.double() - wanted).abs() <= (stock_value.double() - wanted).abs() + slack
            ).all()


@pytest.mark.parametrize("name", stepping_with("generator"))
def test_lists_of_generators(monkeypatch, name):
    drawn = []

    def run(scheduler, x):
        results, used = loop(scheduler, x, generator=generators)
        drawn.append([g.get_state() for g in used])
        return results

    assert_like_stock(monkeypatch, *pair(name, plain(name), STEPS), run)
    assert all(torch.equal(one, other) for one, other in zip(*drawn[:2], strict=True))


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize("tells", [True, False], ids=["begin index", "search"])
@every
def test_image_to_image(monkeypatch, name, tells):
    def run(scheduler, x):
        cut = min(2 * (getattr(scheduler, "order", None) or 1), len(scheduler.timesteps) - 1)
        if tells and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(cut)
        return loop(scheduler, x, scheduler.timesteps[cut:])[0]

    stock, ours = pair(name, plain(name), STEPS)
    assert_like_stock(monkeypatch, stock, ours, run)
    runs = [ours._trajectory.run]
    assert (None in runs) == (name in STOCK_FROM_THE_MIDDLE)


def replaced(i, x):
    return x if i % 2 else 0.9 * x + 0.05


def overwritten(i, x):
    return x if i % 2 else x.mul_(0.9).add_(0.05)


@pytest.mark.parametrize("change", [replaced, overwritten])
@every
def test_a_callback_changes_the_sample(monkeypatch, name, change):
    def run(scheduler, x):
        return loop(scheduler, x, between=change)[0]

    assert_like_stock(monkeypatch, *pair(name, plain(name), STEPS), run)


@every
def test_results_and_arguments_are_left_alone(name):
    _, scheduler = pair(name, plain(name), STEPS)
    kept = []
    x = start(scheduler)

    def keep(i, sample):
        kept.append((sample, sample.clone()))
        return sample

    results, _ = loop(scheduler, x, between=keep)
    for sample, before in [(x, start(scheduler)), *kept]:
        assert torch.equal(sample, before)
    pointers = [value.data_ptr() for result in results for value in values_of(result)]
    assert len(set(pointers)) == len(pointers)


LAST, SLICED = "channels last", "every other column"


def laid_out(tensor, layout):
    """The same numbers, elsewhere."""
    if layout == LAST and tensor.dim() > 2:
        order = (0, *range(2, tensor.dim()), 1)
        back = (0, tensor.dim() - 1, *range(1, tensor.dim() - 1))
        return tensor.permute(order).contiguous().permute(back)
    if layout == SLICED:
        return tensor.repeat_interleave(2, dim=-1)[..., ::2]
    return tensor


@pytest.mark.parametrize("outputs", [None, LAST, SLICED])
@pytest.mark.parametrize("samples", [LAST, SLICED])
@every
def test_layouts(monkeypatch, name, samples, outputs):
    """Numbers and strides of results are those of stock, whatever those of samples and outputs."""
    strides = []

    def run(scheduler, x):
        model = model_for(scheduler)
        x = laid_out(x.double(), samples).to(x.dtype)  # which keeps the layout
        results, _ = loop(
            scheduler, x, model=lambda y, t: laid_out(model(y, t).contiguous(), outputs)
        )
        strides.append([r["prev_sample"].stride() for r in results])
        return results

    assert_like_stock(monkeypatch, *pair(name, plain(name), STEPS), run)
    if outputs == samples:
        assert strides[0] == strides[1]


@every
def test_tuples(name):
    _, scheduler = pair(name, plain(name), STEPS)
    again = copy.deepcopy(scheduler)
    results, _ = loop(scheduler, start(scheduler))
    tuples, _ = loop(again, start(scheduler), return_dict=False)
    for result, values in zip(results, tuples, strict=True):
        assert type(values) is tuple
        tensors = map(values_of, (result, values))
        assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


@every
def test_tuples_are_as_long_as_those_of_stock(name):
    lengths = []
    for scheduler in pair(name, plain(name), STEPS):
        results, _ = loop(scheduler, start(scheduler), return_dict=False)
        lengths.append([len(result) for result in results])
    assert lengths[0] == lengths[1]


@every
def test_set_timesteps_begins_anew(name):
    _, scheduler = pair(name, plain(name), STEPS)
    x = start(scheduler)
    whole, _ = loop(copy.deepcopy(scheduler), x)
    order = getattr(scheduler, "order", None) or 1
    loop(scheduler, 2 * x + 1, scheduler.timesteps[: 3 * order])
    set_steps(scheduler, STEPS)
    assert_equal(loop(scheduler, x)[0], whole)


def pickled(scheduler):
    try:
        pickle.dumps(scheduler.stock(**plain(type(scheduler).__name__)))
    except AttributeError:
        pytest.skip("the stock scheduler cannot be pickled")
    return pickle.loads(pickle.dumps(scheduler))


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"]
)
@every
def test_a_copy_in_the_middle_goes_its_own_way(name, clone):
    """Both go on as if there were no other."""
    if hasattr(fused.SCHEDULERS[name], "_increment") and clone is not copy.copy:
        pytest.skip("torchsde's paths cannot be copied, nor can those of the stock scheduler")
    _, scheduler = pair(name, plain(name), STEPS)
    x = start(scheduler)
    cut = min(2 * (getattr(scheduler, "order", None) or 1), len(scheduler.timesteps) - 1)
    first, rest = scheduler.timesteps[:cut], scheduler.timesteps[cut:]
    if name in ("LTXEulerAncestralRFScheduler", "SCMScheduler", "DDPMWuerstchenScheduler"):
        first = scheduler.timesteps[: cut + 1]  # the loop leaves out the last

    def go(s, x, timesteps):
        results, _ = loop(s, x, timesteps)
        return results

    alone = copy.deepcopy(scheduler)
    middle = go(alone, x, first)[-1]["prev_sample"]
    wanted = go(alone, middle, rest)
    middle = go(scheduler, x, first)[-1]["prev_sample"]
    twin = clone(scheduler)
    assert type(twin) is type(scheduler)
    other = go(twin, middle.clone(), rest)
    assert_equal(go(scheduler, middle, rest), wanted)
    assert_equal(other, wanted)


@every
def test_gradients(monkeypatch, name):
    """Of the last sample, with respect to the first one and to a factor of the model's output: they
    are those of the stock steps, and a warning says that these are used."""
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), 4)
    theirs = gradients(stock)
    with pytest.warns(fused.StockStepWarning, match="no row for a gradient"):
        mine = gradients(ours)
    for value, stock_value in zip(mine, theirs, strict=True):
        assert torch.equal(value, stock_value)


def gradients(scheduler):
    first = start(scheduler).requires_grad_()
    factor = torch.ones((), requires_grad=True)
    model = model_for(scheduler)
    with torch.enable_grad():
        results, _ = loop(scheduler, first, model=lambda y, t: factor * model(y, t), grad=True)
        results[-1]["prev_sample"].square().sum().backward()
    return first.grad, factor.grad
