"""The result objects of schedulers."""

import inspect
from collections import OrderedDict
from dataclasses import fields


def result_class(stock: type) -> type | None:
    """What ``step`` of a stock scheduler, or ``step_pred``, returns; None: tuples."""
    step = stock.step if hasattr(stock, "step") else stock.step_pred
    annotation = inspect.signature(step).return_annotation
    candidates = getattr(annotation, "__args__", (annotation,))
    results = (c for c in candidates if isinstance(c, type) and issubclass(c, OrderedDict))
    return next(results, None)


def field_names(result: type | None) -> tuple[str, ...]:
    return tuple(field.name for field in fields(result)) if result else ()


def build(result: type, names: tuple[str, ...], values: tuple):
    """``result(**dict(zip(names, values)))``, without the checks of its constructor."""
    made = result.__new__(result)
    attributes, put = made.__dict__, OrderedDict.__setitem__
    for name, value in zip(names, values, strict=True):
        attributes[name] = value
        put(made, name, value)
    return made
