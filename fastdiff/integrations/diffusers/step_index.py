"""Which row a step is: rows of a trajectory, by timestep or by count, and what they depend on."""

from typing import Any

import numpy as np
from torch import Tensor

from .adapters.lowering import Unsupported
from .execute import Run, is_transformed

IN_TURN = (
    "timestep {} is there {} times, and the steps from there are done in turn, where the stock "
    "scheduler does the first of them each time"
)
SECOND = (
    "timestep {} is there more than once, and the count of steps begins with the second one, {}, "
    "as that of the stock scheduler does: the last of {} steps fails; set_begin_index({}) begins "
    "with the first"
)


class Host:
    """A scheduler seen with all its tensors on the host, which is where adapters work.

    Tensors on another device are copied where the timesteps are set, so that no step waits.
    """

    def __init__(self, scheduler):
        self._scheduler = scheduler

    def __getattr__(self, name):
        return on_host(self._scheduler, name)

    def fetch(self, *names: str) -> None:
        """Copy these attributes now."""
        for name in names:
            getattr(self, name, None)


def on_host(scheduler, name: str):
    """An attribute of a scheduler; a tensor on the host."""
    value = getattr(scheduler, name)
    if not isinstance(value, Tensor) or value.is_cpu:
        return value
    copies = vars(scheduler).setdefault("_on_host", {})
    known = copies.get(name)
    if known is None or known[0] is not value or known[1] != version_of(value):
        copies[name] = known = value, version_of(value), value.to("cpu")
    return known[2]


class Trajectory:
    """Rows of a scheduler on their way.

    Args:
        cache_key: what would make another one.
        run: the rows and their buffers; None: stock steps, for ``reason``, an ``Unsupported``.
        begin: the scheduler's count at row 0.
        order: the timestep of each row, for schedulers whose step gets it.

    Attributes:
        rows, order: timestep -> row, and the row of each timestep, for schedulers that know a step
            by its timestep alone.
        repeated: timestep -> rows, of those that have several.
        direct: ``rows`` where nothing else says which row it is, or None.
        timesteps, levels, config, options: those of the scheduler; a step that sees others begins
            another trajectory.
    """

    def __init__(self, cache_key: tuple, run: Run | None = None, begin=0, order=(), reason=None):
        self.cache_key, self.run, self.reason = cache_key, run, reason
        self.begin, self.order = begin, order
        self.direct: Any = None
        self.rows: dict = {}
        self.repeated: dict = {}

    def find_rows(self, keys: tuple | None) -> None:
        """Know the rows by their timesteps, which are ``keys``, or those in order."""
        found: dict = {}
        for k, t in enumerate(self.order if keys is None else keys):
            found.setdefault(t, []).append(k)
        self.rows = {t: rows[0] for t, rows in found.items()}
        self.repeated = {t: rows for t, rows in found.items() if len(rows) > 1}
        in_order = range(len(self.order))
        self.order = list(in_order) if keys is None else [self.rows.get(t) for t in self.order]

    def watch(self, attributes: dict, levels: str, options: tuple, seen: tuple) -> None:
        """Remember what the scheduler has, to notice when something is replaced."""
        self.timesteps, self.config = attributes["timesteps"], attributes["_internal_dict"]
        self.name, self.levels, self.options = levels, attributes[levels], options
        self.fingerprint, self.versions = seen, self._versions()

    def _versions(self):
        return version_of(self.timesteps), version_of(self.levels)

    def has_changed(self, scheduler) -> bool:
        """Whether the rows may be out of date although nothing has been replaced. Asked when a loop
        begins."""
        now = fingerprint(scheduler)
        return self._versions() != self.versions or not is_same(now, self.fingerprint)

    def expects(self, row: int, timestep) -> bool:
        """Whether a timestep is that of a row; on a device only views of the timesteps are
        known without waiting."""
        if not isinstance(timestep, Tensor):
            return timestep == self.order[row]
        if timestep.is_cpu:
            if timestep.dim():
                timestep = _the_one(timestep)
            return timestep is not None and timestep.tolist() == self.order[row]
        k = index_in(timestep, self.timesteps)
        return k is None or k == self.begin + row

    def row_of(self, timestep) -> int | None:
        """The row of a timestep; on a device that of a view of the timesteps, by its place in
        memory: nothing is read back."""
        if not isinstance(timestep, Tensor):
            try:
                return self._next_of(timestep)
            except TypeError:  # an array
                return self._next_of(np.asarray(timestep).item())
        if timestep.is_cpu:
            if timestep.dim():
                timestep = _the_one(timestep)
            return None if timestep is None else self._next_of(timestep.tolist())
        k = index_in(timestep, self.timesteps)
        return None if k is None else self.order[k]

    def _next_of(self, timestep) -> int | None:
        """The row of a timestep; of several the one that comes next, or the first."""
        rows = self.repeated.get(timestep, ())
        run: Any = self.run
        return run.row if run.row in rows else self.rows.get(timestep)


def index_in(part: Tensor, whole: Tensor) -> int | None:
    """Which element of ``whole`` a view of one of its elements is; None if it is no such view."""
    if part.dtype is not whole.dtype or part.device != whole.device or part.numel() == 0:
        return None
    if any(size > 1 and step for size, step in zip(part.shape, part.stride(), strict=True)):
        return None  # several elements
    size = whole.element_size() * whole.stride(0)
    k, rest = divmod(part.data_ptr() - whole.data_ptr(), size)
    return k if rest == 0 and 0 <= k < len(whole) else None


def index_of(value, whole: Tensor | None, host: Tensor) -> int | None:
    """Which element of ``whole`` a number or a tensor is, where ``host`` has its values; None if it
    is none, or if that would have to be read from a device."""
    if isinstance(value, Tensor):
        k = None if whole is None else index_in(value, whole)
        if k is not None or not value.is_cpu:
            return k
    value, values = float(value), host.tolist()
    return values.index(value) if value in values else None


def _the_one(timesteps: Tensor) -> Tensor | None:
    """The element that all are a view of, as ``t.expand(batch)`` is; None if there are several."""
    shape = zip(timesteps.shape, timesteps.stride(), strict=True)
    if any(size == 0 or size > 1 and step for size, step in shape):
        return None
    return timesteps[(0,) * timesteps.dim()]


def fingerprint(scheduler) -> tuple:
    """What an adapter depends on that is not compared in every step: attributes, and the config,
    whose own attributes can be set."""
    values = [getattr(scheduler, name) for name in scheduler.spec.depends_on]
    return values, dict(vars(scheduler._internal_dict))


def version_of(tensor: Tensor) -> int:
    """How often a tensor has been written to; one of inference mode does not count."""
    return 0 if tensor.is_inference() else tensor._version


def is_same(one, other) -> bool:
    try:
        return one == other
    except (ValueError, TypeError, RuntimeError):  # arrays among the values
        return False


def warn_of_the_second(scheduler, timestep) -> None:
    """Say so if the count begins one step too late for a loop from this timestep."""
    if is_transformed():  # where the values of a timestep are not readable
        return
    host, first, start = Host(scheduler).timesteps.tolist(), None, scheduler._step_index
    if isinstance(timestep, Tensor):
        first = index_in(timestep, scheduler.timesteps)
        if first is None and not (timestep.is_cpu and timestep.numel() == 1):
            return
    if first is None:  # from some tensor or number, as if it were the first
        first = 0 if float(timestep) == host[0] else start
    if first and scheduler.order == 2:  # each of its later timesteps is there for both stages
        return
    if first < start < len(host) and host[first] == host[start]:
        reason = Unsupported(SECOND, host[first], start, len(host) - first, first)
        scheduler._warn(reason, "the loop will be one step too long:", stacklevel=6)


def warn_of_turns(scheduler, repeated: dict, rows: tuple) -> None:
    """Say so if steps from the same timestep differ. ``repeated``: timestep -> its rows."""
    for t, found in repeated.items():
        if any(rows[k] != rows[found[0]] for k in found):
            scheduler._warn(
                Unsupported(IN_TURN, t, len(found)), "other results than stock's:", stacklevel=6
            )
