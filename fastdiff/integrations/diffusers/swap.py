"""Put fused schedulers into what people have, and take them out again."""

import copy
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from diffusers import SchedulerMixin

from ...arguments import describe, function
from .adapters.lowering import NO_ROWS, Sampler, Unsupported, rows_of
from .attributes import Unchangeable, schedulers_in
from .schedulers import LEFT, SCHEDULERS
from .schedulers.base import NOISE, Fused
from .step_index import Host
from .stock import own_code

#: What fused schedulers add to the attributes.
OURS = ("_original", "_trajectory", "_on_host", "_past", "_said", "_tables", "_raised")


def accelerate(obj, *, noise: str = "torch", report: Callable[[str], Any] | None = print):
    """Swap every scheduler that is held anywhere in an object for its fused twin.

    A pipeline that is saved names the fused classes, and is loaded with them; but pipelines that
    make a scheduler of their own from its config when they are made (DDIMPipeline, for one) have a
    stock one again, and are to be accelerated after they are loaded.

    Args:
        obj: a scheduler, or whatever holds some: a pipeline, a policy, a module, a dict or a list.
        noise: "torch": draw from the user's generators what the stock scheduler would have drawn.
            "philox": fastdiff's own noise, drawn in the kernel; other images for the same seed.
        report: called with a line for each scheduler: what it was swapped for, or why it was left.

    Returns:
        ``obj``, changed in place; for a scheduler its fused twin, the scheduler being unchanged.

    Raises:
        TypeError: there is no scheduler in ``obj``.
        ValueError: ``noise`` is neither "torch" nor "philox".
    """
    if not isinstance(noise, str) or noise not in ("torch", "philox"):
        raise ValueError(f'noise: expected "torch" or "philox", got {describe(noise)}')
    say = function("report", report, optional=True) or (lambda line: None)
    if isinstance(obj, SchedulerMixin):
        twin, line = _fused(obj, noise)
        say(f"scheduler: {line}")
        return twin
    found = list(schedulers_in(obj))
    if not found:
        raise TypeError(
            f"obj: expected a scheduler of diffusers or something that holds one, "
            f"got {type(obj).__name__} without any"
        )
    twins: dict[int, tuple[SchedulerMixin, str]] = {}
    for attribute, scheduler, closed in found:
        if closed:
            say(f"{attribute.path}: {_left(scheduler, closed)}")
            continue
        if id(scheduler) not in twins:
            twins[id(scheduler)] = _fused(scheduler, noise)
        twin, line = twins[id(scheduler)]
        say(f"{attribute.path}: {_swapped(attribute, scheduler, twin) or line}")
    return obj


def restore(obj):
    """Put the schedulers that ``accelerate`` swapped back, set to the timesteps to which they were
    set meanwhile; of a scheduler, return the stock one."""
    if isinstance(obj, SchedulerMixin):
        return _stock(obj)
    for attribute, scheduler, closed in list(schedulers_in(obj)):
        if not closed:
            _swapped(attribute, scheduler, _stock(scheduler))
    return obj


@contextmanager
def portable(obj):
    """With the stock schedulers in place, so that what is saved needs no fastdiff to be loaded::

    with portable(pipe):
        pipe.save_pretrained(folder)
    """
    found = [(at, scheduler) for at, scheduler, closed in schedulers_in(obj) if not closed]
    for attribute, scheduler in found:
        _swapped(attribute, scheduler, _stock(scheduler))
    try:
        yield obj
    finally:
        for attribute, scheduler in found:
            _swapped(attribute, attribute.get(), scheduler)


def sampler_of(scheduler: SchedulerMixin, *options, begin: int = 0) -> Sampler:
    """What a scheduler, stock or fused, does with the timesteps that it is set to.

    Args:
        options: of ``step``: (eta, use_clipped_model_output), (s_churn, s_tmin, s_tmax, s_noise),
            (order,) or, of TCD, (eta,).
        begin: the index of its first step, for multistep ones.

    Raises:
        ValueError: there are no rows for its configuration.
        TypeError: there is no fused scheduler for it.
    """
    twin = SCHEDULERS.get(type(scheduler).__name__)
    if twin is None:
        raise TypeError(f"scheduler: expected one of {', '.join(SCHEDULERS)}, got {scheduler!r}")
    start = (begin,) if twin.spec.multistep else ()
    return twin.spec.adapter(Host(scheduler), *start, *options)


def plan(*arguments, **options) -> Sampler:
    """The old name of ``sampler_of``."""
    warnings.warn("plan is now called sampler_of", DeprecationWarning, stacklevel=2)
    return sampler_of(*arguments, **options)


def _swapped(attribute, scheduler, other) -> str:
    """Put another scheduler where one is; why not, or ""."""
    if other is scheduler:
        return ""
    try:
        attribute.put(other)
    except Unchangeable as reason:
        return _left(scheduler, reason)
    return ""


def _left(scheduler, reason) -> str:
    return f"left {type(scheduler).__name__} as it is: {reason}"


def _fused(scheduler, noise):
    """(the fused twin of a scheduler, or itself; what to say about it)"""
    name = type(scheduler).__name__
    if isinstance(scheduler, Fused):
        scheduler.noise = noise
        return scheduler, f"{name} is fused already"
    twin = SCHEDULERS.get(name)
    if twin is None:
        reason = LEFT.get(name, "there is no fused scheduler for it")
    elif type(scheduler) is not twin.stock:
        reason = f"it is not the {name} of diffusers but another class of that name"
    else:
        reason = own_code(scheduler) or _unfit(scheduler)
    if reason:
        return scheduler, _left(scheduler, reason)
    made: Any = twin.__new__(twin)  # type: ignore[arg-type]  # there is one without a reason
    vars(made).update(_copied(vars(scheduler)))
    made.noise, made._original = noise, scheduler
    return made, f"{name} is fused now"


def _copied(state: dict) -> dict:
    """A scheduler's attributes, without what fused ones add."""
    return copy.deepcopy({name: value for name, value in state.items() if name not in OURS})


def _unfit(scheduler) -> str:
    """Why there would be no rows for a scheduler, found out on a copy; "" if nothing is known.

    A reason that a single step does not have is one of timesteps, and a pipeline may set others
    than ``set_timesteps`` does here.
    """
    probe, reason = copy.deepcopy(scheduler), ""
    for steps in (4, 1):
        try:
            probe.set_timesteps(steps)
        except Exception:  # it wants other arguments
            return ""
        try:
            rows_of(sampler_of(probe))
            return ""
        except NO_ROWS as error:
            reason = reason or f"there is no row for {error}"
    return reason


RESTORED = Unsupported("a loop in the middle of which the stock scheduler was restored")


def _stock(scheduler):
    if not isinstance(scheduler, Fused):
        return scheduler
    scheduler._hand_over(RESTORED)
    stock = vars(scheduler).get("_original")
    if stock is None:
        stock = scheduler.stock.__new__(scheduler.stock)
    vars(stock).update(_copied(vars(scheduler)))
    if NOISE in stock.config:
        kept = {name: value for name, value in stock.config.items() if name != NOISE}
        stock._internal_dict = type(stock.config)(kept)
    return stock
