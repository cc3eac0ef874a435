"""Every operation, every tensor argument: what looks strange in memory is read as its values, what
is no dense tensor of the right kind in memory on the right device is refused by name."""

import inspect

import pytest
import torch

import fastdiff as fd
from fastdiff import noise, ops
from tests.ops.strange_tensors import READABLE, REFUSED, made
from tests.ops.test_errors import valid
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import ARGUMENTS, MUTATED
from tests.support.training_cases import OPS, Call, call

BACKENDS = [pytest.param("auto", marks=native_only), "reference"]
REFUSALS = (TypeError, ValueError, RuntimeError)
SHAPE = (2, 3, 4)

pytestmark = pytest.mark.filterwarnings("ignore:.*(beta state|prototype stage|are deprecated)")


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request):
    with fd.backend(request.param):
        yield


def names_of(name):
    function = getattr(OPS[name].function, "func", OPS[name].function)
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("name", OPS)
def test_training_operations_read_values(name, keys):
    good = call(name, SHAPE, keys=keys)
    for k, v in enumerate(good.arguments):
        for kind, make in READABLE.items():
            strange = made(make, v)
            if strange is None:
                continue
            arguments = list(good.arguments)
            arguments[k] = strange[0]
            plain = list(good.arguments)
            plain[k] = strange[0].clone(memory_format=torch.contiguous_format).resolve_neg()
            if plain[k]._is_zerotensor():
                plain[k] = torch.zeros(v.shape, dtype=v.dtype)
            wanted = [] if kind == "efficient_zero" else None
            got = Call(name, arguments).run(wanted)
            for a, b in zip(got, Call(name, plain).run(wanted), strict=True):
                assert same_bits(a, b), f"{names_of(name)[k]}: {kind}"


@pytest.mark.parametrize("name", OPS)
def test_gradients_that_are_constant(name):
    """The gradient of a sum arrives as one number with strides of zero, or as no memory at all."""
    good = call(name, SHAPE)
    wanted = good.differentiated()

    def gradients(of):
        arguments = [v.detach().requires_grad_(k in wanted) for k, v in enumerate(good.arguments)]
        results = good.op.function(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        inputs = [arguments[k] for k in wanted]
        return torch.autograd.grad(results, inputs, [of(r) for r in results])

    ones = gradients(torch.ones_like)
    constant = gradients(lambda r: torch.ones((), dtype=r.dtype).expand(r.shape))
    assert all(same_bits(a, b) for a, b in zip(ones, constant, strict=True))
    zeros = gradients(torch.zeros_like)
    nothing = gradients(lambda r: torch._efficientzerotensor(r.shape, dtype=r.dtype))
    assert all(torch.equal(a, b) for a, b in zip(zeros, nothing, strict=True))


def test_the_log_probability_of_uniform_levels():
    level = torch.zeros(2, dtype=torch.int64)
    log_prob = fd.losses.categorical(level, torch.randn(2, 1).expand(2, 10))
    assert torch.allclose(log_prob, torch.full((2,), -2.302585))


def refused(function, arguments, name, kind):
    with pytest.raises(REFUSALS) as caught:
        function(*arguments)
    assert name in str(caught.value), f"{kind}: {type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("name", OPS)
def test_training_operations_refuse_by_name(name):
    good = call(name, SHAPE)
    for k, v in enumerate(good.arguments):
        argument = names_of(name)[k]
        for kind, make in REFUSED.items():
            strange = made(make, v)
            if strange is None or (isinstance(strange[0], torch.Tensor) and k > 0 and (
                strange[0].dtype == v.dtype and kind == "None")):  # fmt: skip
                continue
            arguments = list(good.arguments)
            arguments[k] = strange[0]
            refused(good.op.function, arguments, argument, kind)


@pytest.mark.parametrize("name", OPS)
def test_raw_training_operators_refuse_by_name(name):
    """Where public functions would have seen it before."""
    operator = getattr(torch.ops.fastdiff, name)
    schema = operator.default._schema
    names = [a.name for a in schema.arguments]
    rest = {"scale": 1.0, "depth": 17}
    good = call(name, SHAPE)
    others = [rest[n] for n in names[len(good.arguments) :]]
    operator(*good.arguments, *others)
    for k, v in enumerate(good.arguments):
        for kind in ("meta", "sparse", "mkldnn", "truncated", "without memory", "None", "text"):
            strange = made(REFUSED[kind], v)
            if strange is not None:
                arguments = list(good.arguments)
                arguments[k] = strange[0]
                refused(operator, (*arguments, *others), names[k], kind)


@native_only
@pytest.mark.parametrize("name", OPS)
def test_raw_gradients_want_what_there_is(name):
    """As many answers as tensors, and none for one that has no gradient."""
    operator = getattr(torch.ops.fastdiff, f"{name}_grad")
    good = call(name, SHAPE)
    names = [a.name for a in operator.default._schema.arguments]
    count = len(good.arguments)
    lead = names.index(inspect_first(name))
    x, number = torch.randn(SHAPE), torch.randn(SHAPE[0])
    of = [x if n in ("of_first", "of_second", "of_sample") else number for n in names[:lead]]
    others = [{"scale": 1.0, "depth": 17}[n] for n in names[lead + count : -1]]

    def run(wanted):
        return operator(*of, *good.arguments, *others, wanted)

    can = [k in good.differentiated() for k in range(count)]
    assert len(run(can)) == sum(can)
    for wanted in ([], can[:-1], [*can, True]):
        with pytest.raises(REFUSALS, match="wanted"):
            run(wanted)
    for k in range(count):
        if not can[k]:
            with pytest.raises(REFUSALS, match=names[lead + k]):
                run([j == k for j in range(count)])


def inspect_first(name):
    return getattr(torch.ops.fastdiff, name).default._schema.arguments[0].name


KEYS = noise.keys(0, 2)


def test_normals_and_moments():
    a = torch.randn(SHAPE)
    for kind, make in READABLE.items():
        strange = make(a)
        plain = strange.clone(memory_format=torch.contiguous_format).resolve_neg()
        if plain._is_zerotensor():
            plain = torch.zeros(SHAPE)
        assert same_bits(ops.moments(strange, a), ops.moments(plain, a)), kind
        keys = READABLE[kind](KEYS)
        plain = keys.clone(memory_format=torch.contiguous_format)
        if plain._is_zerotensor():
            plain = torch.zeros_like(KEYS)
        assert same_bits(ops.normal(keys, (5,)), ops.normal(plain, (5,))), kind
    for kind, make in REFUSED.items():
        for name, values in {"a": (0, ops.moments, (a, a)), "b": (1, ops.moments, (a, a)),
                             "keys": (0, ops.normal, (KEYS, (5,)))}.items():  # fmt: skip
            at, function, arguments = values
            strange = made(make, arguments[at])
            if strange is None or (kind, name) == ("meta", "keys"):  # normals on meta, then
                continue
            arguments = [strange[0] if k == at else v for k, v in enumerate(arguments)]
            refused(function, arguments, name, kind)


@pytest.mark.parametrize("name", [n for n in ARGUMENTS if n != "outputs"])
def test_the_step_refuses_by_name(name):
    for kind, make in REFUSED.items():
        arguments = valid()
        strange = made(make, arguments[name])
        if strange is None or (strange[0] is None and name not in ("x", "row", "rows", "keys")):
            continue
        arguments[name] = strange[0]
        before = {k: v.clone() for k, v in arguments.items() if k in MUTATED and k != name}
        positional = [arguments.pop(n) for n in ("x", "row", "rows", "outputs")]
        with pytest.raises(REFUSALS) as caught:
            ops.step_(*positional, **arguments)
        assert name in str(caught.value), f"{kind}: {caught.value}"
        now = dict(zip(("x", "row"), positional, strict=False)) | arguments
        assert all(same_bits(now[k], v) for k, v in before.items()), kind


@pytest.mark.parametrize("kind", REFUSED)
def test_a_state_refuses_strange_outputs(kind):
    table = fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 3)
    state = fd.SamplerState(table, torch.randn(SHAPE))
    strange = made(REFUSED[kind], torch.randn(SHAPE))
    if strange is None or kind == "truncated":  # a tensor of the model's own is not looked into
        return
    before = state.x.clone()
    for out in (strange[0], [strange[0]]):
        with pytest.raises(REFUSALS, match=r"\bout(puts)?\b"):
            state.step(out)
    assert same_bits(state.x, before)
