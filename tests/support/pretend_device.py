"""A device without float64 that holds its numbers on the host, under the name of "meta"."""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

import fastdiff as fd
from fastdiff.ops import select
from fastdiff.ops.library import PYTHON


class There(torch.Tensor):
    """A tensor on it."""

    __module__ = "torch"  # by which what takes arrays and tensors alike tells the latter

    @staticmethod
    def __new__(cls, numbers):
        return torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, numbers.stride(), dtype=numbers.dtype, device="meta"
        )

    def __init__(self, numbers):
        self.numbers = refuse_float64(numbers)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


class _Device(TorchDispatchMode):
    """For what is made there, or moved to it, of tensors on the host."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _dispatch(function, args, kwargs or {})


class Single(TorchDispatchMode):
    """Everything is there: no operation may make a float64 tensor."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "fastdiff_reference":  # is Python, which is looked into
            with self:
                made = PYTHON[function._schema.name.split("::")[1]](*args, **(kwargs or {}))
        else:
            made = function(*args, **(kwargs or {}))
        return tree_map_only(torch.Tensor, refuse_float64, made)


def refuse_float64(tensor):
    if tensor.dtype == torch.float64:
        raise TypeError("the device has no float64")
    return tensor


def _dispatch(function, args, kwargs):
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, There)]
    device = kwargs.get("device")
    there = bool(given) if device is None else torch.device(device).type == "meta"
    args, kwargs = tree_map(lambda v: v.numbers if isinstance(v, There) else v, (args, kwargs))
    if device is not None and there:
        kwargs["device"] = "cpu"
    made = function(*args, **kwargs)
    if not there:
        return made

    def placed(tensor):  # what is written in place stays the tensor that it is
        same = [value for value in given if value.numbers is tensor]
        return same[0] if same else There(tensor)

    return tree_map_only(torch.Tensor, placed, made)


@contextmanager
def pretend_device(monkeypatch):
    """With such a device. Tensors come to it by ``.to("meta")`` and go by ``.cpu()``."""
    with monkeypatch.context() as patched, _Device():
        patched.setitem(select._WIDE, "meta", torch.float32)
        yield


@contextmanager
def like_a_device(monkeypatch):
    """As if the host were such a device, which has no kernels."""
    with monkeypatch.context() as patched, fd.backend("reference"):
        patched.setitem(select._WIDE, "cpu", torch.float32)
        yield


@contextmanager
def single_precision(monkeypatch):
    """... and nothing but such a device."""
    with like_a_device(monkeypatch), Single():
        yield
