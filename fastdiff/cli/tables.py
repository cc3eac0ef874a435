"""The table that a command's options ask for."""

from .. import schedules, solvers
from ..tables.table import LEVEL


def lower(name: str, steps: int):
    """The table of a solver, by name, from noise to data on a cosine schedule (v-prediction).

    Raises:
        ValueError: no such solver, or not one for a loop that starts from noise alone.
    """
    table = _find(name).lower(schedules.VPCosine(), steps, prediction="v")
    first, last = table.levels[[0, -1], LEVEL.index("sigma")]
    if first < last:
        raise ValueError(f"solver: expected one that goes from noise to data, got {name!r}")
    if table.uses_known:
        raise ValueError(f"solver: expected one that needs no known data, got {name!r}")
    return table


def solver(name: str):
    """The solver called ``name``, one that :func:`lower` takes."""
    lower(name, 2)
    return _find(name)


def _find(name: str):
    known = {n.lower(): n for n in solvers.names()}
    if name.lower() not in known:
        raise ValueError(f"solver: expected one of {', '.join(known.values())}, got {name!r}")
    return solvers.get(known[name.lower()])()
