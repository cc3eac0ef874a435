"""Wrong arguments of step_, one at a time: the error names the argument and says what came."""

import re

import pytest
import torch

from fastdiff import noise, ops
from fastdiff.row import COLUMN, WIDTH
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import ARGUMENTS, random_rows

REQUIRED = ("x", "row", "rows", "keys", "outputs")
OPTIONAL = [name for name in ARGUMENTS if name not in REQUIRED]
FLOATING = ("x", "rows", "weights", "saved", "history", "z", "z_prev", "t")
FLOATING += ("second_weights", "known", "mask", "threshold", "x0_out")
ANY_STRIDES = ("outputs", "gain", "x_in", "weights", "second_weights", "t")
SHAPED = [name for name in ARGUMENTS if name not in ("outputs", "x")]


def valid():
    """A call that reads and writes everything, with two outputs."""
    rows = random_rows(2, 0.0, torch.Generator().manual_seed(0), slots=2)
    like = torch.ones(3, 4, 5)
    return {
        "x": like.clone(),
        "row": torch.zeros(3, dtype=torch.int64),
        "rows": rows,
        "outputs": [like.clone(), like.clone()],
        "weights": torch.ones(3, 3, 2),
        "keys": noise.keys(0, 3),
        "saved": like.clone(),
        "history": torch.ones(2, 3, 4, 5),
        "z": like.clone(),
        "z_prev": like.clone(),
        "model_input": torch.ones(6, 4, 5),
        "t": torch.ones(6),
        "second_weights": torch.ones(3, 3, 2),
        "gain": like.clone(),
        "known": like.clone(),
        "mask": like.clone(),
        "threshold": torch.ones(3),
        "x0_out": like.clone(),
        "x_in": like.clone(),
        "x_out": like.clone(),
    }


def raw(arguments):
    torch.ops.fastdiff.step_(*(arguments[name] for name in ARGUMENTS))


def public(arguments):
    arguments = dict(arguments)
    positional = [arguments.pop(name) for name in ("x", "row", "rows", "outputs")]
    ops.step_(*positional, **arguments)


both = pytest.mark.parametrize(
    "call", [pytest.param(raw, marks=native_only), public], ids=["raw", "public"]
)


def refused(call, arguments, name, *messages):
    """The call raises an error that names ``name`` and what came, and changes nothing."""
    before = {k: v.clone() for k, v in arguments.items() if isinstance(v, torch.Tensor)}
    shown = "outputs|out" if name == "outputs" else name
    with pytest.raises((ValueError, TypeError, RuntimeError), match=rf"\b({shown})\b") as caught:
        call(arguments)
    for message in messages:
        assert re.search(message, str(caught.value)), str(caught.value)
    for k, v in before.items():
        assert v.is_meta or v.is_sparse or same_bits(v, arguments[k]), f"{k} has changed"


@both
def test_the_call_is_valid(call):
    call(valid())
    for name in ("t", "model_input", "z", "z_prev"):
        arguments = valid()
        arguments[name] = None
        if name == "model_input":
            arguments["t"] = None
        call(arguments)


def wrong_dtypes(name):
    if name in ("row", "keys"):
        return [torch.int32, torch.float32, torch.bool, torch.uint8]
    half = (
        []
        if name in ("outputs", "model_input", "x_in", "x_out")
        else [torch.bfloat16, torch.float16]
    )
    return [torch.float64, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, *half]


@both
@pytest.mark.parametrize("name", ARGUMENTS)
def test_dtype(call, name):
    for dtype in wrong_dtypes(name):
        arguments = valid()
        if name == "x" and dtype == torch.float64:
            continue  # then everything else is wrong
        value = arguments[name]
        value = [o.to(dtype) for o in value] if name == "outputs" else value.to(dtype)
        refused(call, {**arguments, name: value}, name, "expected", "got")


@both
def test_one_dtype_for_all_outputs(call):
    arguments = valid()
    arguments["outputs"][1] = arguments["outputs"][1].bfloat16()
    refused(call, arguments, "outputs", "expected", "got")


def wrong_shapes(value):
    yield value[None]
    yield value[:0]
    yield value[:-1]
    yield torch.cat((value, value))
    yield value.flatten() if value.dim() > 1 else value[:, None]
    yield value[0, ...] if value.dim() > 1 else value.sum()
    yield value.new_ones(())
    for dim in range(1, value.dim()):
        yield torch.cat((value, value), dim=dim)
        yield value.narrow(dim, 0, 0)
        if dim > 1 or value.dim() == 3:
            yield value.transpose(dim, dim - 1).contiguous()


@both
@pytest.mark.parametrize("name", ARGUMENTS)
def test_shape(call, name):
    arguments = valid()
    value = arguments[name][0] if name == "outputs" else arguments[name]
    for wrong in wrong_shapes(value):
        if wrong.shape == value.shape or (name == "x" and wrong.dim()):
            continue
        if name == "rows" and wrong.dim() == 2 and wrong.shape[1] == WIDTH:
            continue  # another number of rows: tested below
        if name == "history" and wrong.shape[1:] == value.shape[1:]:
            continue  # another number of slots: tested below
        if name == "weights" and wrong.dim() == 3 and wrong.shape[:2] == value.shape[:2]:
            continue  # another number of outputs: tested below
        if name == "outputs" and wrong.shape == (6, 4, 5):
            continue  # both outputs in one
        if name == "outputs":
            refused(call, {**arguments, name: [wrong, value]}, name, "expected", "got")
            refused(call, {**arguments, name: [value, wrong]}, name, "expected", "got")
            wrong = [wrong]
        refused(call, {**arguments, name: wrong}, name, "expected", "got")


@both
@pytest.mark.parametrize("name", [n for n in ARGUMENTS if n not in ANY_STRIDES])
def test_contiguity(call, name):
    arguments = valid()
    value = arguments[name]
    strided = torch.stack((value, value), dim=-1)[..., 0]
    assert not strided.is_contiguous()
    refused(call, {**arguments, name: strided}, name, "contiguous")
    refused(call, {**arguments, name: value[:1].expand(value.shape)}, name, "contiguous")


@both
@pytest.mark.parametrize("name", ARGUMENTS)
def test_device(call, name):
    arguments = valid()
    value = arguments[name]
    arguments[name] = [value[0], value[1].to("meta")] if name == "outputs" else value.to("meta")
    if name == "x":
        name = "row"  # x decides the device
    refused(call, arguments, name, "device|cpu", "meta|another device|no_device")


@both
@pytest.mark.parametrize("name", ARGUMENTS)
def test_type(call, name):
    for value in (3, "x", 1.5, [1], [None], {}, torch.ones):
        refused(call, {**valid(), name: value}, name)


@both
@pytest.mark.parametrize("name", [n for n in ARGUMENTS if n not in OPTIONAL])
def test_none(call, name):
    refused(call, {**valid(), name: None}, name)


@both
@pytest.mark.parametrize("index", [-1, 3, 2**62, -(2**63)])
def test_row_out_of_range(call, index):
    arguments = valid()
    arguments["row"][1] = index
    refused(call, arguments, "row", r"\[0, 3\)", str(index))


@both
def test_no_rows(call):
    arguments = valid() | {"outputs": [torch.ones(3, 4, 5)]}
    arguments |= dict.fromkeys(("weights", "second_weights", "model_input", "t"))
    refused(call, {**arguments, "rows": arguments["rows"][:0]}, "row")


@both
@pytest.mark.parametrize(
    ("column", "value"),
    [("slot", 2), ("slot", 3), ("slot", 4), ("slot", 7), ("slot", 1e10), ("slot", torch.inf),
     ("c_h2", 1), ("d_h3", 1)],
)  # fmt: skip
def test_history_slots(call, column, value):
    """Slots that a row reads or writes, beyond those that there are."""
    arguments = valid()
    columns = [COLUMN[n] for n in ("c_h0", "c_h1", "c_h2", "c_h3", "d_h0", "d_h1", "d_h2", "d_h3")]
    arguments["rows"][:, columns] = 0
    arguments["rows"][0, COLUMN["slot"]] = -1
    arguments["rows"][0, COLUMN[column]] = value
    refused(call, arguments, "history", "slots", r"got 2|got None|\[2,")
    refused(call, {**arguments, "history": None}, "history", "slots", "got 0|got None")


@both
@pytest.mark.parametrize(
    ("name", "column"),
    [("saved", "c_s"), ("known", "k_known"), ("mask", "k_z"), ("gain", "g_1")],
)
def test_missing_operand(call, name, column):
    arguments = valid()
    arguments["rows"][:, COLUMN[column]] = 1
    refused(call, {**arguments, name: None}, name, "got None")


@both
def test_missing_threshold(call):
    arguments = valid()
    arguments["rows"][0, COLUMN["dynamic"]] = 0.9
    refused(call, {**arguments, "threshold": None}, "threshold", "got None")


@both
def test_second_weights_like_weights(call):
    arguments = valid()
    refused(call, {**arguments, "weights": None, "model_input": None, "t": None}, "second_weights",
            "weights", "got")  # fmt: skip
    expanded = torch.ones(1, 1, 2).expand(3, 3, 2)
    refused(call, {**arguments, "second_weights": expanded}, "second_weights", "strides", "got")


@both
def test_missing_outputs(call):
    refused(call, {**valid(), "outputs": []}, "outputs", "got an empty|got 0|got None")


@both
def test_number_of_outputs(call):
    arguments = valid() | {"second_weights": None}
    one = arguments["outputs"][0]
    for outputs in ([one], [one] * 3, [one] * 5, [torch.ones(9, 4, 5)]):
        refused(call, {**arguments, "outputs": outputs}, "outputs", "expected", "got")
    refused(call, {**arguments, "weights": None}, "model_input", r"\[3, 4, 5\]", r"\[6, 4, 5\]")
    for count in (0, 1, 3, 5):
        refused(call, {**arguments, "weights": torch.ones(3, 3, count)}, "weights|model_input")


@both
def test_model_dtype_beside_a_float64_state(call):
    """float64 outputs and inputs are allowed there, and t follows the model's input."""
    arguments = valid()
    for name in FLOATING:
        arguments[name] = arguments[name].double()
    arguments["t"] = arguments["t"].float()
    call(arguments)
    refused(call, {**arguments, "model_input": arguments["model_input"].double()}, "t")
    refused(call, {**arguments, "t": arguments["t"].double()}, "t")
    arguments["outputs"] = [o.double() for o in arguments["outputs"]]
    refused(call, arguments, "gain", "float64", "float32")
    arguments["gain"] = arguments["gain"].double()
    call(
        {**arguments, "model_input": arguments["model_input"].double(), "t": torch.ones(6).double()}
    )
