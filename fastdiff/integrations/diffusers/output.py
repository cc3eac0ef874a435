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


def builder(result: type, names: tuple[str, ...]):
    """A function of values that is ``result(**dict(zip(names, values)))``, without the checks of
    its constructor, which take longer than a step. There are one or two names."""
    new, put = result.__new__, OrderedDict.__setitem__
    first, second = names if len(names) == 2 else (*names, None)

    def build(values: tuple):
        made = new(result)
        attributes, value = made.__dict__, values[0]
        attributes[first] = value
        put(made, first, value)
        if second is not None:
            attributes[second] = value = values[1]
            put(made, second, value)
        return made

    return build
