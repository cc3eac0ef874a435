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
        key = tuple(map(key_of, arguments))
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
    if kind in (int, str, bool) or value is None:
        return kind, value
    if kind is float:
        return kind, value.hex()  # which tells -0.0 from 0.0
    if kind is np.ndarray and value.dtype.kind in "biuf":
        return kind, value.shape, value.dtype.str, value.tobytes()
    if kind is tuple and len(value) > 16 and set(map(type, value)) == {float}:
        return kind, value  # the betas of a schedule, say: hashed and compared as they are
    if kind in (tuple, list):
        return kind, *map(key_of, value)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise TypeError(f"value: expected numbers, text or a frozen dataclass, got {kind.__name__}")
    return kind, *(key_of(getattr(value, name)) for name in kind.__dataclass_fields__)
