"""Wrong values for an argument, each made anew: label -> function of the right value."""

import math
from pathlib import Path

import numpy as np
import torch


def _like(change):
    """A change of a tensor, or None where the right value is no tensor."""
    return lambda v: change(v) if isinstance(v, torch.Tensor) else None


ANYTHING = {
    "none": lambda v: None,
    "text": lambda v: "text",
    "empty text": lambda v: "",
    "bytes": lambda v: b"bytes",
    "object": lambda v: object(),
    "class": lambda v: dict,
    "its class": lambda v: type(v),
    "module": lambda v: math,
    "function": lambda v: lambda *args, **kwargs: None,
    "function that fails": lambda v: _fails,
    "dtype": lambda v: torch.int32,
    "list": lambda v: [v],
    "empty list": lambda v: [],
    "tuple": lambda v: (v, v, v),
    "list of text": lambda v: ["a", "b"],
    "dict": lambda v: {},
    "dict of text": lambda v: {"a": 1},
    "set": lambda v: {1, 2},
    "range": lambda v: range(3),
    "generator": lambda v: iter([1, 2]),
}

NUMBERS = {
    "true": lambda v: True,
    "zero": lambda v: 0,
    "-1": lambda v: -1,
    "-1.0": lambda v: -1.0,
    "half": lambda v: 0.5,
    "7": lambda v: 7,
    "nan": lambda v: math.nan,
    "inf": lambda v: math.inf,
    "-inf": lambda v: -math.inf,
    "tiny": lambda v: 1e-300,
    "subnormal": lambda v: 5e-324,
    "large": lambda v: 1e20,
    "huge": lambda v: 1e308,
    "-huge": lambda v: -1e308,
    "2**31": lambda v: 2**31,
    "2**62": lambda v: 2**62,
    "2**64": lambda v: 2**64,
    "-2**63": lambda v: -(2**63),
    "10**400": lambda v: 10**400,
    "complex": lambda v: 1j,
    "pair": lambda v: (0.0, 1.0),
    "wrong pair": lambda v: (1.0, 0.0),
    "pair of nan": lambda v: (math.nan, math.nan),
    "numpy float": lambda v: np.float32(0.5),
    "numpy nan": lambda v: np.float64("nan"),
    "numpy int": lambda v: np.int64(-1),
    "numpy bool": lambda v: np.bool_(True),
    "array": lambda v: np.array([0.5, 0.25]),
    "empty array": lambda v: np.zeros(0),
    "0-d array": lambda v: np.array(0.5),
    "matrix": lambda v: np.zeros((2, 3)),
    "array of text": lambda v: np.array(["a", "b"]),
    "array of objects": lambda v: np.array([None, object()]),
    "complex array": lambda v: np.array([1j, 2j]),
}

TENSORS = {
    "0-d tensor": lambda v: torch.tensor(0.5),
    "0-d int tensor": lambda v: torch.tensor(-3),
    "vector": lambda v: torch.tensor([0.5, 0.25]),
    "empty tensor": lambda v: torch.zeros(0),
    "ints": lambda v: torch.tensor([1, 2, 3]),
    "tensor of nan": lambda v: torch.full((2,), math.nan),
    "deep tensor": lambda v: torch.zeros(2, 1, 1, 1, 1, 1, 1),
    "complex tensor": lambda v: torch.zeros(3, dtype=torch.complex64),
    "bool tensor": lambda v: torch.ones(3, dtype=torch.bool),
    "tensor of a batch": lambda v: torch.zeros(3, 2, 4, 4),
    "meta tensor": lambda v: torch.zeros(3, device="meta"),
    "parameter": lambda v: torch.nn.Parameter(torch.zeros(3)),
    "sparse tensor": lambda v: torch.eye(3).to_sparse(),
}

LIKE = {
    "first": _like(lambda v: v[:1]),
    "nothing of it": _like(lambda v: v[:0]),
    "one more": _like(lambda v: torch.cat((v, v[:1]))),
    "leading one": _like(lambda v: v[None]),
    "flat": _like(lambda v: v.flatten()),
    "summed": _like(lambda v: v.sum()),
    "double": _like(lambda v: v.double()),
    "half": _like(lambda v: v.half()),
    "bfloat16": _like(lambda v: v.bfloat16()),
    "float8": _like(lambda v: v.float().to(torch.float8_e5m2)),
    "int32": _like(lambda v: v.to(torch.int32)),
    "uint8": _like(lambda v: v.to(torch.uint8)),
    "uint16": _like(lambda v: v.to(torch.uint16)),
    "bool": _like(lambda v: v.to(torch.bool)),
    "complex": _like(lambda v: v.to(torch.complex64)),
    "on meta": _like(lambda v: v.to("meta")),
    "with gradient": _like(lambda v: v.clone().requires_grad_(v.is_floating_point())),
    "nan": _like(lambda v: torch.full_like(v, math.nan) if v.is_floating_point() else v),
    "infinite": _like(lambda v: torch.full_like(v, math.inf) if v.is_floating_point() else v),
    "negative": _like(lambda v: -v - 1),
    "huge": _like(lambda v: torch.full_like(v, 1e30) if v.is_floating_point() else v * 10**15),
    "one number expanded": _like(lambda v: v.reshape(-1)[:1].clone()[0].expand(v.shape)),
    "transposed": _like(lambda v: v.transpose(0, -1)),
    "strided": _like(lambda v: torch.stack((v, v), -1)[..., 0]),
    "negated view": _like(lambda v: torch._neg_view(v)),
    "zero tensor": _like(lambda v: torch._efficientzerotensor(v.shape, dtype=v.dtype)),
    "array of it": _like(lambda v: v.detach().numpy()),
    "list of it": _like(lambda v: v.tolist()),
    "sparse": _like(lambda v: v.to_sparse()),
    "mkldnn": _like(lambda v: v.float().to_mkldnn()),
    "nested": _like(lambda v: torch.nested.nested_tensor([v])),
    "quantized": _like(lambda v: torch.quantize_per_tensor(v.float(), 0.1, 0, torch.qint8)),
}  # fmt: skip

#: Of a path.
PATHS = {
    "its folder": lambda v: v.parent,
    "a folder": lambda v: _made(v.parent / "folder", Path.mkdir),
    "in no folder": lambda v: v.parent / "none" / v.name,
    "in a file": lambda v: _made(v.parent / "file", Path.touch) / v.name,
    "an empty file": lambda v: _made(v.parent / "empty", Path.touch),
    "a file of zeros": lambda v: _made(v.parent / "zeros", _zeros),
    "a file of text": lambda v: _made(v.parent / "text", lambda p: p.write_text("text")),
    "cut off": lambda v: _made(v, lambda p: p.is_file() and p.write_bytes(p.read_bytes()[:-9])),
    "one bit flipped": lambda v: _made(v, _flip),
    "a link to itself": lambda v: _made(v.parent / "link", lambda p: p.symlink_to(p)),
    "a long name": lambda v: v.parent / ("n" * 300),
    "a zero in its name": lambda v: f"{v}\0",
    "half a character in its name": lambda v: f"{v}\ud800",
    "as text": lambda v: str(v),
}


def _made(path, make):
    make(path)
    return path


def _zeros(path):
    path.write_bytes(bytes(64))


def _flip(path):
    if path.is_file():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)


def _fails(*args, **kwargs):
    raise KeyError("of the caller")


def values(right) -> dict:
    """Label -> function that makes the wrong value, for an argument whose right value this is."""
    if isinstance(right, torch.Tensor):
        return ANYTHING | NUMBERS | TENSORS | {f"its {k}": make for k, make in LIKE.items()}
    if isinstance(right, Path):
        return ANYTHING | NUMBERS | TENSORS | {f"a path, {k}": make for k, make in PATHS.items()}
    return ANYTHING | NUMBERS | TENSORS
