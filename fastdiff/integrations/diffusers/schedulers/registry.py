"""From records to classes."""

import inspect
from collections import OrderedDict
from dataclasses import fields
from typing import Any

from diffusers import SchedulerMixin, schedulers
from diffusers.schedulers import deprecated

from ..spec import Spec
from ..stock import NOISING, STEPS, like
from .base import Fused, generic_step

PUBLIC = __name__.rpartition(".schedulers.")[0]  # where saved pipelines look for the classes


def twins(specs: dict[str, Spec]) -> dict[str, type[Fused]]:
    """name -> class, of those schedulers that this diffusers has."""
    found = {name: _stock(name) for name in specs}
    return {name: twin(stock, specs[name]) for name, stock in found.items() if stock is not None}


def twin(stock: Any, spec: Spec) -> type[Fused]:
    """The fused subclass of a scheduler, of the same name."""
    kind = spec.kind or Fused
    bases = (kind, stock) if spec.add_noise is None else (kind, spec.add_noise, stock)
    result = _result(stock)
    members = {
        "__module__": PUBLIC,
        "__doc__": stock.__doc__,
        "stock": stock,
        "spec": spec,
        **_signature(stock, spec),
        "_result": result,
        "_build": staticmethod(_builder(result, spec.returns)),
        "set_timesteps": like(stock.set_timesteps, Fused._set_timesteps),
    }
    if spec.stored:
        members["stored"] = spec.stored
    if not hasattr(stock, "scale_model_input"):
        members["scale_model_input"] = _unscaled
    for name in (*STEPS, *NOISING):
        original = getattr(stock, name, None)
        if original is not None:
            own = _method_of(bases[:-1], name) or (generic_step(name) if name in STEPS else None)
            if own is not None:
                members[name] = like(original, own)
    return type(stock.__name__, bases, members)


def _stock(name):
    for module in (schedulers, deprecated):
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, SchedulerMixin):
            return found
    return None  # an older diffusers, or one without torchsde


def _method_of(bases, name):
    return next((getattr(base, name) for base in bases if hasattr(base, name)), None)


def _step_of(stock):
    return stock.step if hasattr(stock, "step") else stock.step_pred


def _signature(stock, spec):
    """The parameters of the stock step after the first three, and the defaults of options."""
    parameters = inspect.signature(_step_of(stock)).parameters
    return {
        "parameters": tuple(parameters)[4:],
        "option_defaults": tuple(parameters[name].default for name in spec.options),
    }


def _unscaled(self, sample, timestep=None):
    """The sample itself. The stock class has no such method, and pipelines that know it by its
    exact type call the method of every other scheduler."""
    return sample


def _result(stock: type) -> type | None:
    """What ``step`` of a stock scheduler, or ``step_pred``, returns; None: tuples."""
    step = _step_of(stock)
    annotation = inspect.signature(step).return_annotation
    candidates = getattr(annotation, "__args__", (annotation,))
    results = (c for c in candidates if isinstance(c, type) and issubclass(c, OrderedDict))
    return next(results, None)


def _builder(result: Any, returns: int):
    """A function of values that makes a result of them without the checks of its constructor, which
    take longer than a step. There are one or two values."""
    if result is None:
        return tuple
    new, put = result.__new__, OrderedDict.__setitem__
    first, second, *_ = (*(field.name for field in fields(result)[:returns]), None, None)

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
