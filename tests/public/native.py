"""Right calls of the raw ops and of the executor, for the fuzz."""

import torch

import fastdiff as fd
from fastdiff.ops.operands import BOUND
from tests.public import makers

B = makers.B


def _floats():
    return makers.x()


#: Right arguments of the ops by their names in the schemas, where the type does not say it.
VALUES = {
    "a": lambda: torch.randn(B, 16), "b": lambda: torch.randn(B, 16),
    "depth": lambda: 17, "draw": lambda: 0, "gradient": lambda: torch.ones(B),
    "keys": makers.keys, "level": lambda: torch.zeros(B, 1, 4, dtype=torch.int64),
    "mix": lambda: torch.ones(B, 4), "noise": makers.keys, "rows": makers.rows,
    "row": lambda: torch.zeros(B, dtype=torch.int64), "scale": lambda: 1.0,
    "t": lambda: torch.zeros(B), "weight": lambda: torch.ones(B), "weights": lambda: None,
    "wanted": lambda: [True] * 6, "outputs": lambda: [_floats()],
}  # fmt: skip
OUT = {"moments_": lambda: torch.zeros(B, 5, dtype=torch.float64)}


def surface() -> dict:
    """Name -> function that makes (call, right arguments)."""
    made = {f"torch.ops.{op}": _raw(op) for op in _names()}
    if fd.ops.native is not None:
        made["Executor"] = _executor
    return made


def _names():
    schemas = torch._C._jit_get_all_schemas()
    return sorted({s.name.replace("::", ".") for s in schemas if s.name.startswith("fastdiff::")})


def _raw(name):
    packet = getattr(torch.ops.fastdiff, name.split(".")[1])
    schema = packet.default._schema

    def make():
        arguments = {}
        for argument in schema.arguments:
            optional = isinstance(argument.type, torch.OptionalType)
            given = VALUES.get(argument.name, (lambda: None) if optional else _floats)
            if argument.name == "out":
                given = OUT.get(schema.name.split("::")[1], _floats)
            arguments[argument.name] = given()
        return (lambda given: _without_gradient(packet, given)), arguments

    return make


def _without_gradient(packet, arguments):
    with torch.no_grad():
        return packet(**arguments)


def _executor():
    """A state's own step, made of wrong buffers or called with wrong outputs."""
    x = makers.x()
    arguments = dict.fromkeys(BOUND)
    arguments |= {
        "x": x, "row": torch.zeros(B, dtype=torch.int64), "rows": makers.rows(),
        "keys": makers.keys(), "model_input": torch.zeros_like(x), "t": torch.zeros(B),
        "out": x.clone(), "gain": None, "x_in": None, "x_out": None,
    }  # fmt: skip

    def call(given):
        call = [given.pop(name) for name in ("out", "gain", "x_in", "x_out")]
        step = fd.ops.bind(**given)
        with torch.no_grad():
            step(*call)
            step(call[0])

    return call, arguments
