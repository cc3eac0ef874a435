"""Old names of attributes, methods and arguments, which go on working for a while."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_C = TypeVar("_C", bound=type)


class Alias:
    """A class attribute that stands for another one, with a DeprecationWarning::

        class Solver:
            quantity = Alias("prediction_target")

    Reading it from an instance or from the class gives what the new name gives there.
    """

    def __init__(self, new: str):
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, instance: object, owner: type) -> Any:
        warn(f"{owner.__name__}.{self.old}", self.new)
        return getattr(owner if instance is None else instance, self.new)


def warn(old: str, new: str, depth: int = 3) -> None:
    """Warn that ``old`` is now called ``new``, ``depth`` frames up."""
    warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=depth)


def renamed(**names: str) -> Callable[[_C], _C]:
    """Let the constructor of a class take its arguments by their old names, too, and its instances
    be read by them: ``@renamed(quantity="prediction_target")``."""

    def decorate(cls: _C) -> _C:
        make = cls.__init__  # type: ignore[misc]  # of this class, as it is now

        @functools.wraps(make)
        def init(self, *args, **options):
            if not names.keys().isdisjoint(options):
                for old in names.keys() & options.keys():
                    new = names[old]
                    if new in options:
                        raise TypeError(f"{new}: expected one value, got a second one as {old}")
                    warn(f"{cls.__name__}({old}=...)", new)
                    options[new] = options.pop(old)
            make(self, *args, **options)

        cls.__init__ = init  # type: ignore[misc]  # of this class
        for old, new in names.items():
            setattr(cls, old, alias := Alias(new))
            alias.__set_name__(cls, old)
        return cls

    return decorate


def renamed_in(cls: type, old: str, new: str) -> None:
    """For ``__init_subclass__``: a subclass that defines ``old`` is taken to define ``new``."""
    value = vars(cls).get(old)
    if value is None or isinstance(value, Alias):
        return
    warn(f"{cls.__name__}.{old}", new, depth=4)
    if old in inspect.get_annotations(cls):  # a field, of which each instance has its own value
        value = property(lambda self: getattr(self, old))
    setattr(cls, new, value)
