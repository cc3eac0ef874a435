"""The methods of stock schedulers: which there are, and who has replaced them."""

import functools
import inspect
import types

STEPS = ("step", "step_pred", "step_correct", "add_noise_to_input")
NOISING = ("add_noise", "get_velocity", "scale_noise")
#: Methods of stock schedulers that fused ones call themselves.
CALLED = (*STEPS, "_init_step_index", "index_for_timestep", "scale_model_input", *NOISING)


@functools.cache
def helpers_of(stock: type) -> frozenset[str]:
    """The methods to which the steps of a stock scheduler come: rows stand for what they do."""
    found, ahead = set(), [name for name in STEPS if hasattr(stock, name)]
    while ahead:
        method = inspect.unwrap(getattr(stock, ahead.pop()))
        for name in getattr(getattr(method, "__code__", None), "co_names", ()):
            value = inspect.getattr_static(stock, name, None)
            if callable(value) and name not in found and name not in CALLED:
                found.add(name)
                ahead.append(name)
    return frozenset(found)


def own_code(scheduler) -> str:
    """What a scheduler has of its own in place of its class's methods, said as a reason; ""."""
    own = [n for n in vars(scheduler) if callable(getattr(type(scheduler), n, None))]
    return f"it has a {' and a '.join(own)} of its own" if own else ""


def own_helpers(attributes: dict, cls: type) -> list[str]:
    """Names of helpers of the stock step that have been replaced in a fused scheduler, by a
    subclass or in the object, which has these attributes."""
    inherited, helpers = _replaced(cls)
    if not inherited and helpers.isdisjoint(attributes):
        return []
    return sorted(inherited | helpers.intersection(attributes))


@functools.cache
def _replaced(cls):
    """(helpers that subclasses have replaced, all helpers)"""
    helpers, line = helpers_of(cls.stock), cls.__mro__
    ours = next(k for k, base in enumerate(line) if "stock" in vars(base))
    own = (helpers.intersection(vars(base)) for base in line[:ours])
    return frozenset().union(*own), helpers


def like(stock, ours):
    """A copy of our method with the signature of the stock one."""
    made = types.FunctionType(
        ours.__code__, ours.__globals__, ours.__name__, ours.__defaults__, ours.__closure__
    )
    made.__kwdefaults__ = ours.__kwdefaults__
    return functools.wraps(stock)(made)
