"""Checks of a solver's options. Numbers of numpy are kept as Python's."""

from math import isfinite
from numbers import Integral, Real
from operator import index

from ..arguments import MOST, describe


def check_choice(solver, name: str, *allowed) -> None:
    """Raise unless the option ``name`` of the solver is one of those allowed."""
    value = _whole(getattr(solver, name))
    known = value is None or (isinstance(value, (str, int)) and not isinstance(value, bool))
    if not known or value not in allowed:
        *rest, last = (f'"{v}"' if isinstance(v, str) else repr(v) for v in allowed)
        words = f"{', '.join(rest)} or {last}"
        raise ValueError(f"{type(solver).__name__}: {name} must be {words}, got {describe(value)}")
    object.__setattr__(solver, name, value)


def check_flag(solver, name: str) -> None:
    """Raise unless the option is True or False."""
    value = getattr(solver, name)
    if not isinstance(value, bool):
        raise ValueError(f"{type(solver).__name__}: {name} must be True or False, got {value!r}")


def check_count(solver, name: str) -> None:
    """Raise unless the option is a positive integer."""
    value = _whole(getattr(solver, name))
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{type(solver).__name__}: {name} must be a positive integer, got {value!r}"
        )
    object.__setattr__(solver, name, value)


def check_range(solver, name: str, high: float = 1.0) -> None:
    """Raise unless the option is a finite number from 0 to ``high``."""
    value = plain(getattr(solver, name))
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (real and abs(value) <= MOST and 0 <= value <= high):
        allowed = f"a number in [0, {high:g}]" if isfinite(high) else "a finite number >= 0"
        raise ValueError(f"{type(solver).__name__}: {name} must be {allowed}, got {value!r}")
    object.__setattr__(solver, name, value)


def check_eta(solver, high: float = 1.0) -> None:
    """Raise unless ``solver.eta`` is a finite number from 0 to ``high``."""
    check_range(solver, "eta", high)


def plain(value):
    """A real number as an int or a float, anything else as it is."""
    if isinstance(value, Real) and not isinstance(value, (bool, int)):
        return index(value) if isinstance(value, Integral) else float(value)
    return value


def _whole(value):
    return index(value) if isinstance(value, Integral) and not isinstance(value, bool) else value
