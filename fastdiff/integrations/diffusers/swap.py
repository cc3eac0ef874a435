"""Put fused schedulers into what people have, and take them out again."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from diffusers import DiffusionPipeline, SchedulerMixin

from .fused import Fused
from .plans.plan import Plan, rows_of
from .schedulers import LEFT, SCHEDULERS
from .trajectory import Host

DEPTH = 6  # how far down schedulers are looked for
FOREIGN = ("builtins", "torch", "numpy", "transformers", "tokenizers", "logging", "threading")
OURS = (
    "_noise",
    "_original",
    "_trajectories",
    "_on_host",
    "_said",
    "_tables",
    "_raised",
)  # what fused schedulers add


class Place(NamedTuple):
    """Where a scheduler is held."""

    path: str
    owner: Any
    key: Any
    scheduler: SchedulerMixin

    def put(self, scheduler: SchedulerMixin) -> None:
        if isinstance(self.owner, (dict, list)):
            self.owner[self.key] = scheduler
        elif hasattr(self.owner, "update_components"):  # a modular pipeline
            self.owner.update_components(**{self.key: scheduler})
        else:
            setattr(self.owner, self.key, scheduler)


def accelerate(obj, *, noise: str = "torch", report: Callable[[str], Any] | None = print):
    """Swap every scheduler that is held anywhere in an object for its fused twin.

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
    if noise not in ("torch", "philox"):
        raise ValueError(f'noise: expected "torch" or "philox", got {noise!r}')
    say = report or (lambda line: None)
    if isinstance(obj, SchedulerMixin):
        return _fused(obj, noise, say, "scheduler", {})
    places = list(_places(obj))
    if not places:
        raise TypeError(
            f"obj: expected a scheduler of diffusers or something that holds one, "
            f"got {type(obj).__name__} without any"
        )
    twins: dict[int, SchedulerMixin] = {}
    for place in places:
        place.put(_fused(place.scheduler, noise, say, place.path, twins))
    return obj


def restore(obj):
    """Put the schedulers that ``accelerate`` swapped back; of a scheduler, return the stock one."""
    if isinstance(obj, SchedulerMixin):
        return _stock(obj)
    for place in list(_places(obj)):
        place.put(_stock(place.scheduler))
    return obj


@contextmanager
def portable(obj):
    """With the stock schedulers in place, so that what is saved needs no fastdiff to be loaded::

    with portable(pipe):
        pipe.save_pretrained(folder)
    """
    places = list(_places(obj))
    for place in places:
        place.put(_stock(place.scheduler))
    try:
        yield obj
    finally:
        for place in places:
            place.put(place.scheduler)


def plan(scheduler: SchedulerMixin, *options, begin: int = 0) -> Plan:
    """What a scheduler, stock or fused, does with the timesteps that it is set to.

    Args:
        options: of ``step``: (eta, use_clipped_model_output), (s_churn, s_tmin, s_tmax, s_noise),
            (order,) or, of TCD, (eta,).
        begin: the index of its first step, for those that look back.

    Raises:
        ValueError: there are no rows for its configuration.
        TypeError: there is no fused scheduler for it.
    """
    twin = SCHEDULERS.get(type(scheduler).__name__)
    if twin is None:
        raise TypeError(f"scheduler: expected one of {', '.join(SCHEDULERS)}, got {scheduler!r}")
    place = (begin,) if twin._looks_back else ()
    return twin._planner(Host(scheduler), *place, *options)


def _fused(scheduler, noise, say, path, twins):
    name = type(scheduler).__name__
    if isinstance(scheduler, Fused):
        scheduler.noise = noise
        say(f"{path}: {name} is fused already")
        return scheduler
    if id(scheduler) in twins:
        return twins[id(scheduler)]
    twin = SCHEDULERS.get(name)
    reason = ""
    if twin is None:
        reason = LEFT.get(name, "there is no fused scheduler for it")
    elif type(scheduler) is not twin.stock:
        reason = f"it is not the {name} of diffusers but another class of that name"
    else:
        reason = _unfit(scheduler)
    if reason:
        say(f"{path}: left {name} as it is: {reason}")
        return scheduler
    made = twin.__new__(twin)
    vars(made).update(copy.deepcopy(vars(scheduler)))
    made.noise, made._original = noise, scheduler
    twins[id(scheduler)] = made
    say(f"{path}: {name} is fused now")
    return made


def _unfit(scheduler) -> str:
    """Why there would be no rows for a scheduler, found out on a copy; "" if nothing is known."""
    probe = copy.deepcopy(scheduler)
    try:
        probe.set_timesteps(4)
    except Exception:  # it wants other arguments
        return ""
    try:
        rows_of(plan(probe))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        return f"there is no row for {error}"
    return ""


def _stock(scheduler):
    if not isinstance(scheduler, Fused):
        return scheduler
    original = vars(scheduler).get("_original")
    if original is None:
        original = scheduler.stock.__new__(scheduler.stock)
        state = {k: v for k, v in vars(scheduler).items() if k not in OURS}
        vars(original).update(copy.deepcopy(state))
    else:
        original._internal_dict = scheduler._internal_dict  # which may have been changed since
    return original


def _places(obj, path="", seen=None, depth=0) -> Iterator[Place]:
    """Where in an object there are schedulers."""
    seen = set() if seen is None else seen
    if id(obj) in seen or depth > DEPTH:
        return
    seen.add(id(obj))
    for key, value in _members(obj):
        name = f"{path}[{key!r}]" if isinstance(obj, (dict, list, tuple)) else f"{path}.{key}"
        name = name.lstrip(".")
        if isinstance(value, SchedulerMixin):
            if not isinstance(obj, tuple):
                yield Place(name, obj, key, value)
        elif _may_hold(value):
            yield from _places(value, name, seen, depth + 1)


def _members(obj):
    if isinstance(obj, dict):
        return list(obj.items())
    if isinstance(obj, (list, tuple)):
        return list(enumerate(obj))
    if isinstance(obj, torch.nn.Module):
        return [*obj._modules.items(), *vars(obj).items()]
    return list(getattr(obj, "__dict__", {}).items())


def _may_hold(value):
    """Containers and objects of people's own classes; not what libraries keep for themselves."""
    if isinstance(value, (dict, list, tuple, torch.nn.Module, DiffusionPipeline)):
        return True
    root = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not callable(value) and root not in FOREIGN
