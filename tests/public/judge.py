"""What a call with one wrong argument may end in."""

import re
import warnings

import torch

from tests.public import hostile

#: All that a call may raise, besides what a callable of the caller's own raises.
ALLOWED = (TypeError, ValueError, RuntimeError, IndexError, OSError, ImportError)
#: Functions of time are inf or NaN where they are, and numpy warns of it.
OF_TIME = ("t", "s", "lam", "B")
NAMED = re.compile(r"^[A-Za-z_][\w.\[\], ']*: (expected|needs|\w+ (must|needs)) |(must|expected) ")


def verdict(target, name: str, label: str) -> str | None:
    """What is wrong with how the call ends, or None."""
    right = target.valid()
    wrong = hostile.values(right.get(name))[label]
    try:
        value = wrong(right.get(name))
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, OverflowError):
        return None  # there is no such value
    arguments = {**right, name: value}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if name in OF_TIME else "error", RuntimeWarning)
            result = target.call(arguments)
    except BaseException as error:
        return _of_error(error, name, value)
    return _of_result(result, arguments)


def _of_error(error, name, value):
    text = str(error)
    said = f"{type(error).__name__}: {text[:160]!r}"
    if isinstance(error, KeyError) and "of the caller" in text and callable(value):
        return None
    if not isinstance(error, ALLOWED):
        return f"raised {said}"
    if isinstance(error, RuntimeError) and "CUDA" in text:
        return None
    if isinstance(error, NotImplementedError) and not re.search(rf"\b{name}\b", text):
        return f"raised {said}"
    if isinstance(error, IndexError) and "out of range in self" in text:
        return None  # values are not looked at: that would wait for the device
    if "the model's output is not finite" in text:
        return None  # what adaptive solvers say of NaN
    if callable(value) or re.search(rf"\b{re.escape(name)}\b", text) or NAMED.search(text):
        return None
    return f"does not name the argument: {said}"


def _of_result(result, arguments):
    """A tensor on the device of the tensors that were given, in dtypes that there are."""
    given = [v for v in arguments.values() if isinstance(v, torch.Tensor)]
    if isinstance(result, torch.Tensor) and given:
        if result.is_meta != any(v.is_meta for v in given):
            return f"returned a tensor on {result.device}"
    return None
