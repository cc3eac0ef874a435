"""Tables that were made before, found again by the values that they were made of.

A table does not change, so the same solver on the same schedule needs lowering once. What cannot be
told by its value, such as a schedule with a function of its own, is lowered each time.
"""

from collections import OrderedDict
from threading import Lock

import numpy as np

MOST = 64  # tables
ROWS = 4096  # of one table, which is 1.3 MB

_tables: OrderedDict[tuple, object] = OrderedDict()
_lock = Lock()


def kept(make, *arguments):
    """``make(*arguments)``, or what it returned for arguments of the same values."""
    try:
        key = key_of(arguments)
    except TypeError:
        return make(*arguments)
    with _lock:
        if (table := _tables.get(key)) is not None:
            _tables.move_to_end(key)
            return table
    table = make(*arguments)
    if len(table.rows) <= ROWS:
        with _lock:
            _tables[key] = table
            while len(_tables) > MOST:
                _tables.popitem(last=False)
    return table


def key_of(value):
    """What is equal for two values that cannot be told apart.

    Raises:
        TypeError: there is no such thing, as of functions, tensors and objects that may change.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is float:
        return kind, value.hex()  # which tells -0.0 from 0.0
    if kind is np.ndarray and value.dtype.kind in "biuf":
        return kind, value.shape, value.dtype.str, value.tobytes()
    if kind is tuple or kind is list:
        if kind is tuple and len(value) > 16:
            return _long(value)
        parts = value
    else:
        parameters = getattr(kind, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            expected = "numbers, text or a frozen dataclass"
            raise TypeError(f"value: expected {expected}, got {kind.__name__}")
        parts = [getattr(value, name) for name in kind.__dataclass_fields__]
    key: list = [kind]
    for part in parts:
        key.append((type(part), part) if type(part) in _PLAIN else key_of(part))
    return tuple(key)


_PLAIN = frozenset((int, str, bool, type(None)))


class _Long:
    """A long tuple of floats, such as the betas of a schedule, whose hash is known."""

    __slots__ = ("value", "hash")

    def __init__(self, value):
        self.value, self.hash = value, hash(value)

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return isinstance(other, _Long) and self.value == other.value


#: By identity, the last ones that were asked for. They are held, so that no other takes an id.
_seen: OrderedDict[int, _Long] = OrderedDict()


def _long(value):
    with _lock:
        known = _seen.get(id(value))
    if known is not None:
        return known
    if set(map(type, value)) != {float}:
        return (tuple, *map(key_of, value))
    known = _Long(value)
    with _lock:
        _seen[id(value)] = known
        while len(_seen) > MOST:
            _seen.popitem(last=False)
    return known
