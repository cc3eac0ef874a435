"""A few cells of a product of parameters for the quick run; all of them together are slow.

``@pytest.mark.covered(times=2)`` on a test that is parametrized along several axes keeps, for each
value of the longest axis, ``times`` cells, in which the values of the other axes, and after them
pairs of values, come as evenly as they can; every value of every axis stays in at least one cell.
The rest is marked ``slow``.
"""

from collections import Counter, defaultdict
from itertools import combinations

import pytest


def thin(items) -> None:
    """Mark what is left out of the quick run."""
    functions = defaultdict(list)
    for item in items:
        if item.get_closest_marker("covered") and not item.get_closest_marker("slow"):
            functions[item.function].append(item)
    for cells in functions.values():
        times = cells[0].get_closest_marker("covered").kwargs.get("times", 1)
        kept = covering([item.callspec.params for item in cells], times)
        for k, item in enumerate(cells):
            if k not in kept:
                item.add_marker(pytest.mark.slow)


def covering(cells: list[dict], times: int) -> set[int]:
    """Which cells (axis -> value) to keep; the values are told apart as objects."""
    values = defaultdict(dict)  # axis -> {value: in which order it came}
    for k, cell in enumerate(cells):
        numbered = {}
        for axis, value in cell.items():
            numbered[axis] = values[axis].setdefault(id(value), len(values[axis]))
        cells[k] = numbered
    longest = max(values, key=lambda axis: len(values[axis]))
    seen, kept = Counter(), set()

    def times_seen(k):
        pairs = combinations(cells[k].items(), 2)
        return sum(seen[value] for value in cells[k].items()), sum(seen[pair] for pair in pairs), k

    def take(candidates):
        best = min(candidates, key=times_seen)
        kept.add(best)
        seen.update(cells[best].items())
        seen.update(combinations(cells[best].items(), 2))

    for value in values[longest].values():
        of_value = [k for k, cell in enumerate(cells) if cell.get(longest) == value]
        for _ in range(min(times, len(of_value))):
            take([k for k in of_value if k not in kept])
    for k, cell in enumerate(cells):
        if any(not seen[value] for value in cell.items()):
            take([k])
    return kept
