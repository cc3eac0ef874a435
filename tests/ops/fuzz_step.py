"""Run by test_fuzz.py in a process of its own: step_ with random wrong arguments must raise
ValueError, TypeError, RuntimeError or IndexError, or succeed; all else, a crash first, is a bug.

The call about to be made is the last line on stderr.
"""

import sys

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fastdiff.row import COLUMN
from tests.support.step_cases import ARGUMENTS, cases

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32,
          torch.bool, torch.complex64, torch.float8_e4m3fn]  # fmt: skip
NUMBERS = [torch.nan, torch.inf, -torch.inf, -1.0, 0.5, 3.0, 4.0, 1e10, -1e10, 2.0**63, 1e30]

RESHAPES = {
    "none": lambda v: None,
    "lead": lambda v: v[None],
    "nothing": lambda v: v[:0],
    "shorter": lambda v: v[:-1],
    "longer": lambda v: torch.cat((v, v)),
    "flat": lambda v: v.flatten(),
    "scalar": lambda v: v.new_ones(()),
    "expanded": lambda v: v[:1].expand(v.shape),
    "huge": lambda v: v.new_ones(1).expand(2**40),
    "huge sample": lambda v: v.new_ones(1).expand(*v.shape[:1], 2**31, 2**20),
    "transposed": lambda v: v.transpose(0, -1),
    "strided": lambda v: torch.stack((v, v), -1)[..., 0],
    "deep": lambda v: v.reshape(v.shape + (1,) * (60 - v.dim())),
    "deep strided": lambda v: v.new_ones(v.shape[:1] + (2,) * 9).transpose(1, -1)[..., ::2],
    "meta": lambda v: v.to("meta"),
    "nested": lambda v: torch.nested.nested_tensor([v]),
    "parameter": lambda v: torch.nn.Parameter(v, requires_grad=v.is_floating_point()),
    "negated": lambda v: torch._neg_view(v),
    "text": lambda v: "text",
    "list": lambda v: [v],
}


@st.composite
def spoiled(draw):
    """A valid call with one to four things wrong with it."""
    arguments = draw(cases()).copy().arguments
    done = []
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(ARGUMENTS))
        kind = draw(st.sampled_from([*RESHAPES, "dtype", "numbers", "swap", "alias", "count"]))
        done.append(f"{kind} {name}")
        try:
            _spoil(draw, arguments, name, kind)
        except (RuntimeError, AttributeError, TypeError, IndexError, ValueError):
            done.append("(not possible)")
    return arguments, done


def _listed(outputs):
    return outputs if isinstance(outputs, list) else []


def _spoil(draw, arguments, name, kind):
    value = arguments[name]
    for tensor in (*arguments.values(), *_listed(arguments["outputs"])):
        if isinstance(tensor, torch.Tensor) and tensor.numel() > 2**24:
            raise ValueError("enough: nothing more can be done to a huge tensor")
    if kind == "swap":
        other = draw(st.sampled_from(ARGUMENTS))
        arguments[name], arguments[other] = arguments[other], value
    elif kind == "alias":
        arguments[name] = arguments[draw(st.sampled_from(["x", "model_input", "saved"]))]
    elif kind == "count":
        arguments["outputs"] = _listed(arguments["outputs"]) * draw(st.integers(0, 6))
    elif kind == "numbers":
        column = draw(st.sampled_from(list(COLUMN)))
        arguments["rows"][:, COLUMN[column]] = draw(st.sampled_from(NUMBERS))
        arguments["row"].fill_(draw(st.sampled_from([0, -1, 4, 2**62, -(2**63)])))
    else:
        dtype = draw(st.sampled_from(DTYPES))
        change = RESHAPES.get(kind, lambda v: v.to(dtype))
        if name == "outputs":
            at = draw(st.integers(0, len(value) - 1))
            arguments[name] = [*value[:at], change(value[at]), *value[at + 1 :]]
        else:
            arguments[name] = change(value)


seen = {"raised": 0, "ran": 0}


@settings(
    max_examples=int(sys.argv[1]),
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(call=spoiled())
def fuzz(call):
    arguments, done = call
    print(done, file=sys.stderr, flush=True)
    try:
        with torch.no_grad():
            torch.ops.fastdiff.step_(*(arguments[name] for name in ARGUMENTS))
    except (ValueError, TypeError, RuntimeError, IndexError):
        seen["raised"] += 1
    else:
        seen["ran"] += 1


fuzz()
print(seen)
assert seen["raised"] > seen["ran"] > 0
