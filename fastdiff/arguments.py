"""Checks of arguments, in one place.

Each gives the value back or raises an error that reads "argument: expected X, got Y": TypeError for
a value of the wrong kind, ValueError for a wrong one of the right kind. Neither numpy nor torch is
imported: what is theirs can only come from somebody who has imported them.
"""

import difflib
import importlib
import math
import os
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from operator import index
from pathlib import Path

#: Numbers whose squares, and whose products with numbers of unit scale, are numbers in float32.
LEAST, MOST = 1e-18, 1e18


def describe(value) -> str:
    """What came: a short repr; of arrays and tensors dtype and shape."""
    if getattr(value, "is_nested", False):
        return f"{value.dtype}, nested"
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        return f"{value.dtype} {list(value.shape)}" if value.shape else f"{value.dtype} {value}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    text = repr(value) if type(value).__repr__ is not object.__repr__ else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def number(name: str, value, *, above=None, least=None, below=None, most=None, finite=True):
    """A real number as Python's int or float, within the bounds: (above, below) or [least, most].

    Of numpy's and torch's, scalars and those without dimensions are numbers, too.
    """
    if type(value) is float and math.isfinite(value):
        if (above is None or value > above) and (least is None or value >= least):
            if (below is None or value < below) and (most is None or value <= most):
                return value
    expected = _expected("a finite number" if finite else "a number", above, least, below, most)
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    try:
        plain = index(value) if isinstance(value, Integral) else float(value)
        size = float(plain)
        plain = plain if abs(size) < 2**53 else size
    except OverflowError:
        plain = size = math.inf if value > 0 else -math.inf  # type: ignore[operator]  # of Real
    if (
        math.isnan(size)
        or finite
        and math.isinf(size)
        or not _within(plain, above, least, below, most)
    ):
        raise ValueError(f"{name}: expected {expected}, got {describe(value)}")
    return plain


def whole(name: str, value, *, least=None, most=None) -> int:
    """An integer as Python's, of 64 bits, within [least, most]."""
    bound = 2**63 - 1 if most is None else most
    if type(value) is int and (least is None or least <= value) and -bound <= value <= bound:
        return value
    expected = _expected("an integer", None, least, None, most)
    most = bound
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    value = index(value)
    if not _within(value, None, least, None, most):
        raise ValueError(f"{name}: expected {expected}, got {describe(value)}")
    return value


def flag(name: str, value) -> bool:
    """True or False, of numpy, too."""
    if type(value).__name__ not in ("bool", "bool_") or getattr(value, "shape", ()) != ():
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def sequence(name: str, value, expected: str, length: int | None = None):
    """A list, a tuple or anything else with a length and items, but no text."""
    listed = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not listed and not (getattr(value, "shape", ()) and hasattr(value, "__getitem__")):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    if length is not None and len(value) != length:
        raise ValueError(f"{name}: expected {expected}, got {len(value)}")
    return value


def sizes(name: str, value) -> tuple[int, ...]:
    """A shape: sizes of dimensions, fewer than 2^48 numbers in all."""
    try:
        found = (-1,) if isinstance(value, (str, bytes)) else tuple(map(index, value))
    except (TypeError, RuntimeError):
        found = (-1,)
    if min(found, default=0) < 0 or math.prod(found) >= 2**48:
        raise ValueError(f"{name}: expected a sequence of sizes, got {describe(value)}")
    return found


def choice(name: str, value, allowed, hints=None) -> str:
    """One of the texts ``allowed``; ``hints`` maps some that are not to what may be meant."""
    names = [f'"{text}"' for text in allowed]
    expected = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    if value not in allowed:
        meant = (hints or {}).get(value) or close(value, allowed)
        raise ValueError(f"{name}: expected {expected}, got {value!r}{did_you_mean(meant)}")
    return value


def path(name: str, value) -> Path:
    """What can be the name of a file or of a folder."""
    try:
        found = Path(value)
        plain = os.fsencode(found)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: expected a path, got {describe(value)}") from None
    if b"\0" in plain:
        raise ValueError(f"{name}: expected a path, got {describe(value)}")
    return found


def instance(name: str, value, kind: type | tuple, expected: str):
    """An object of this kind; ``expected`` says which, in words."""
    if isinstance(value, kind):
        return value
    hint = ""
    if isinstance(value, type) and issubclass(value, kind):
        hint = f"; write {value.__name__}(...) for one with its options"
    raise TypeError(f"{name}: expected {expected}, got {describe(value)}{hint}")


def function(name: str, value, optional: bool = False):
    """Something that can be called, or, if ``optional``, None."""
    if callable(value) or (optional and value is None):
        return value
    expected = "a callable or None" if optional else "a callable"
    raise TypeError(f"{name}: expected {expected}, got {describe(value)}")


def tensor(name: str, value, *, shape=None, dims: int | None = None, floating: bool = True):
    """A dense tensor, of real numbers and, unless not ``floating``, of a floating dtype.

    Args:
        name: of the argument.
        value: what is checked.
        shape: what its shape has to be, None for any.
        dims: how many dimensions it has at least.
    """
    torch = sys.modules.get("torch")
    expected = "a floating-point tensor" if floating else "a tensor"
    if shape is not None:
        expected += f" {list(shape)}"
    elif dims:
        expected += " [batch, ...]"
    if torch is None or not isinstance(value, torch.Tensor):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    dense = value.layout is torch.strided and not (value.is_nested or value.is_quantized)
    if not dense:
        raise ValueError(f"{name}: expected {expected} in dense memory, got {layout(value)}")
    short = value.is_floating_point() and value.element_size() == 1  # torch computes nothing in it
    well = not short and (value.is_floating_point() if floating else not value.is_complex())
    shaped = (shape is None or value.shape == tuple(shape)) and value.dim() >= (dims or 0)
    if not (well and shaped):
        raise ValueError(f"{name}: expected {expected}, got {describe(value)}")
    return value


def alike(name: str, value, like_name: str, like):
    """A dense floating tensor of the shape of another and on its device."""
    return on_device(name, tensor(name, value, shape=like.shape), like_name, like)


def on_device(name: str, value, like_name: str, like):
    """A tensor on the device of another."""
    if value.device != like.device:
        expected = f"a tensor on {like.device} like {like_name}"
        raise ValueError(f"{name}: expected {expected}, got one on {value.device}")
    return value


def device(name: str, value):
    """A ``torch.device`` that there is."""
    torch = sys.modules["torch"]
    try:
        made = torch.device(value)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        made = None
    if made is None or (made.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f'{name}: expected a device such as "cpu", got {describe(value)}')
    return made


def floating(name: str, value):
    """A floating dtype of torch in which there is arithmetic."""
    kind = sys.modules["torch"].dtype
    if not isinstance(value, kind) or not value.is_floating_point or value.itemsize < 2:
        raise TypeError(
            f"{name}: expected a floating dtype such as torch.float32, got {value!r:.80}"
        )
    return value


def close(name: str, names) -> str | None:
    """The one of ``names`` that ``name`` may stand for, or None."""
    by_lower = {other.lower(): other for other in names}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff=0.7)
    return by_lower[found[0]] if found else None


def did_you_mean(meant: str | None) -> str:
    """The end of a sentence."""
    return f". Did you mean {meant!r}?" if meant else ""


def attributes(module: str, lazy=()):
    """The ``__getattr__`` of a module: it imports the submodules ``lazy`` when they are asked for,
    and suggests a public name for one that there is not."""

    def __getattr__(name: str):
        if name in lazy:
            return importlib.import_module(f".{name}", module)
        meant = None
        if not name.startswith("_"):
            given = vars(sys.modules[module])
            public = given.get("__all__") or [n for n in given if not n.startswith("_")]
            meant = close(name, [*public, *lazy])
        raise AttributeError(f"module {module!r} has no attribute {name!r}{did_you_mean(meant)}")

    return __getattr__


def _scalar(value):
    """The number in an array or a tensor without dimensions; all else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item") and not _is_number(value):
        try:
            return value.item()
        except (RuntimeError, ValueError, TypeError):  # on meta, say
            return value
    return value


def _is_number(value) -> bool:
    return isinstance(value, Real)


def _within(value, above, least, below, most) -> bool:
    return (
        (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    )


def _expected(what, above, least, below, most) -> str:
    low = ("[", least) if least is not None else ("(", above)
    high = ("]", most) if most is not None else (")", below)
    if low[1] is not None and high[1] is not None:
        return f"{what} in {low[0]}{low[1]:,}, {high[1]:,}{high[0]}"
    if low[1] is not None:
        return f"{what} {'>=' if least is not None else '>'} {low[1]:,}"
    if high[1] is not None:
        return f"{what} {'<=' if most is not None else '<'} {high[1]:,}"
    return what


def layout(value) -> str:
    """What a tensor that is not dense is."""
    if value.is_nested:
        return "a nested one"
    return "a quantized one" if value.is_quantized else f"one of layout {value.layout}"
