"""Where schedulers are held in people's objects."""

import functools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from diffusers import SchedulerMixin

DEPTH = 6  # how far down schedulers are looked for
FOREIGN = ("builtins", "torch", "numpy", "transformers", "tokenizers", "logging", "threading")
SEQUENCES = (list, tuple, deque)
CLOSED = (set, frozenset, functools.partial)  # looked into, but left as they are
CODE = (FunctionType, BuiltinFunctionType, ModuleType, type)


class Unchangeable(Exception):
    """A holder takes no other scheduler; the message says why."""


@dataclass(frozen=True)
class Attribute:
    """An element, an attribute or a component of an object, which may be held by another one."""

    path: str
    owner: Any
    key: Any
    holder: "Attribute | None" = None

    def get(self) -> Any:
        owner = self._owner()
        if isinstance(owner, (dict, *SEQUENCES)):
            return owner[self.key]
        return getattr(owner, self.key)

    def put(self, value) -> None:
        """Replace what is there.

        Raises:
            Unchangeable: there is no way.
        """
        owner = self._owner()
        try:
            if isinstance(owner, tuple):
                self._put_tuple(owner, value)
            elif isinstance(owner, (dict, list, deque)):
                owner[self.key] = value
            elif hasattr(owner, "update_components"):  # a modular pipeline
                owner.update_components(**{self.key: value})
            else:
                setattr(owner, self.key, value)
        except (AttributeError, TypeError, ValueError) as error:  # frozen, read-only
            raise Unchangeable(f"its holder cannot be changed ({error})") from None
        if self.get() is not value:
            raise Unchangeable("its holder keeps the old one")

    def _owner(self):
        """Tuples are replaced as a whole: the one that is there now."""
        return self.holder.get() if isinstance(self.owner, tuple) and self.holder else self.owner

    def _put_tuple(self, owner, value):
        if self.holder is None:
            raise TypeError("a tuple")
        items = [value if k == self.key else item for k, item in enumerate(owner)]
        made = owner._make(items) if hasattr(owner, "_make") else type(owner)(items)
        self.holder.put(made)


def schedulers_in(obj) -> Iterator[tuple[Attribute, SchedulerMixin, str]]:
    """(attribute, scheduler, why it has to stay) of all schedulers that an object holds."""
    yield from _search(obj, None, {}, 0)


def _search(obj, attribute, seen, depth):
    if id(obj) in seen or depth > DEPTH:
        return
    seen[id(obj)] = obj  # what is made on the way must not be forgotten: ids are used again
    before = attribute.path if attribute else ""
    indexed = isinstance(obj, (dict, *SEQUENCES, *CLOSED))
    for key, value, closed in _members(obj):
        path = (before + (f"[{key!r}]" if indexed else f".{key}")).lstrip(".")
        inside = Attribute(path, obj, key, attribute)
        if isinstance(value, SchedulerMixin):
            yield inside, value, closed
        elif isinstance(value, MethodType) and isinstance(value.__self__, SchedulerMixin):
            name = value.__func__.__name__
            yield inside, value.__self__, f"it is its method {name} that is kept there"
        elif _may_hold(value):
            yield from _search(value, inside, seen, depth + 1)


def _members(obj):
    """(key, value, why it cannot be replaced or "")."""
    if isinstance(obj, dict):
        return [(key, value, "") for key, value in obj.items()]
    if isinstance(obj, SEQUENCES):
        return [(k, value, "") for k, value in enumerate(obj)]
    if isinstance(obj, CLOSED):
        items = (*obj.args, *obj.keywords.values()) if isinstance(obj, functools.partial) else obj
        reason = f"its holder cannot be changed (a {type(obj).__name__})"
        return [(k, value, reason) for k, value in enumerate(items)]
    found = dict(vars(obj)) if hasattr(obj, "__dict__") else {}
    if isinstance(obj, torch.nn.Module):
        found |= found.pop("_modules")
    for cls in type(obj).__mro__:
        if not _is_foreign(cls):
            held = {k: v for k, v in vars(cls).items() if isinstance(v, SchedulerMixin)}
            slots = vars(cls).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(obj, name) and not name.startswith("__"):
                    held[name] = getattr(obj, name)
            found = held | found
    return [(key, value, "") for key, value in found.items()]


def _may_hold(value):
    """Containers and objects of people's own classes; not what libraries keep for themselves."""
    if isinstance(value, (dict, *SEQUENCES, *CLOSED, torch.nn.Module)):
        return True
    if isinstance(value, (*CODE, MethodType)) or _is_foreign(type(value)):
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def _is_foreign(cls):
    return cls.__module__.partition(".")[0] in FOREIGN
