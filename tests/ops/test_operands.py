"""The table of a step's operands: one for Python, one for C++, one set of words."""

import itertools

import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.ops import operands
from fastdiff.row import CALL_OPERANDS, OPERANDS
from tests.ops.test_errors import public, raw, valid
from tests.support.helpers import native_only

DTYPES = {"kState": "state", "kInt64": "int64", "kModel": "model", "kTime": "time"}
SHAPES = {
    "kLikeX": ("B", "..."), "kBatch": ("B",), "kTable": ("R", fd.row.WIDTH), "kKeys": ("B", 2),
    "kWeights": ("R", "B", "G"), "kLikeWeights": ("R", "B", "G"), "kHistory": ("slots", "B", "..."),
    "kInputs": ("GB", "..."), "kTimes": ("GB",),
}  # fmt: skip
LAYOUTS = {"kWeights": "rows", "kLikeWeights": "like weights"}


@native_only
def test_both_lists_are_the_same():
    listed = [
        (name, written, DTYPES[dtype], SHAPES[shape], LAYOUTS.get(shape, "contiguous"),
         need == "kRequired")
        for name, written, dtype, shape, need in ops.native.step_operands()
    ]  # fmt: skip
    assert listed == [(o.name, o.written, o.dtype, o.shape, o.layout, o.required) for o in OPERANDS]


def test_the_signature_and_its_description_are_the_table():
    for operand in (*OPERANDS, *CALL_OPERANDS):
        assert f"\n        {operand.name}: [" in ops.step_.__doc__
        assert operand.about in ops.step_.__doc__
    schema = torch.ops.fastdiff.step_.default._schema
    assert [a.name for a in schema.arguments] == list(operands.NAMES)
    assert {a.name for a in schema.arguments if a.is_write} == set(operands.WRITTEN)


def wrong(value):
    """Values that are no operand where ``value`` is one, and whose words both backends choose."""
    yield "dtype", value.to(torch.int32)
    yield "dtype", value.to(torch.complex64)
    yield "dtype", value.to(torch.float8_e4m3fn)
    yield "dimensions", value[None]
    yield "no dimensions", value.new_ones(())
    yield "samples", torch.cat((value, value))
    yield "samples", torch.cat((value, value), dim=min(1, value.dim() - 1))
    yield "strides", torch.stack((value, value), dim=-1)[..., 0]
    yield "strides", torch.cat((value, value), dim=-1)[..., : value.shape[-1]]


def words(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def calls():
    """(operand, kind, arguments with one that is wrong)"""
    for operand in (*OPERANDS, *CALL_OPERANDS):
        for kind, value in wrong(valid()[operand.name]):
            yield pytest.param(operand.name, value, id=f"{operand.name}-{kind}-{value.dtype}")
    for value in (torch.ones(3, 4, 6), torch.ones(3, 4, 5).int(), torch.ones(2, 4, 5)):
        yield pytest.param("outputs", [value, torch.ones(3, 4, 5)], id="outputs")
        yield pytest.param("outputs", [torch.ones(3, 4, 5), value], id="outputs")
    yield pytest.param("outputs", [torch.ones(3, 4, 5)] * 3, id="outputs")


def bound(arguments):
    bound = ops.bind(**{name: arguments[name] for name in operands.BOUND})
    bound(*(arguments[name] for name in operands.CALL))


@native_only
@pytest.mark.parametrize(("name", "value"), list(calls()))
def test_the_same_words_from_everywhere(name, value):
    """From the op and the executor, native and in Python: one contract, whoever checks it."""
    said = {}
    for backend, call in itertools.product(("cpu", "reference"), (public, bound)):
        with fd.backend(backend):
            said[backend, call.__name__] = words(call, valid() | {name: value})
    said["raw"] = words(raw, valid() | {name: value})
    assert len(set(said.values())) == 1, said
    message = said["raw"]
    if message is None:  # more slots, and strides that are as good as others
        ops.bind(**{k: (valid() | {name: value})[k] for k in operands.BOUND})
    elif name in ("x", "rows", "weights"):  # whose sizes are right, and make those of others wrong
        assert ": expected " in message and ", got " in message
    else:
        shown = "out" if name == "outputs" else name
        assert message.startswith(f"{shown}: expected ") and ", got " in message


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_state_says_the_same_of_its_model(backend):
    table = fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 2)
    for out in (torch.ones(2, 4), torch.ones(3, 5).int(), torch.ones(3, 5).to(torch.complex64)):
        state = fd.SamplerState(table, torch.ones(3, 5))
        of_state = words(state.step, out)
        with fd.backend(backend):
            of_executor = words(ops.bind(**state.buffers.named()), out)
        assert of_state == of_executor
        assert of_state.startswith("out: expected float32, bfloat16 or float16 [3, 5] on cpu, got ")
