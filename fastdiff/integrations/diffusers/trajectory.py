"""What is done with a scheduler: which rows, made from what."""

import numpy as np
from torch import Tensor

from .run import Run


class Host:
    """A scheduler seen with all its tensors on the host, which is where plans are made.

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

    Attributes:
        run: the rows and their buffers; None: stock steps, for ``reason``, a ``Declined``.
        begin: the scheduler's count at row 0.
        places, order: timestep -> row, and the row of each timestep, for schedulers that are told
            the timestep; for those that are told it and count, too, only ``order``: the timestep of
            each row.
        repeated: timestep -> rows, of those that have several.
        direct: ``places`` where nothing else says which row it is, or None.
        made_from: what would make another one.
        timesteps, levels, config, options: those of the scheduler; a step that sees others begins
            another trajectory.
    """

    def __init__(
        self,
        made_from: tuple,
        run: Run | None,
        begin=0,
        places=None,
        order=(),
        repeated=None,
        reason=None,
    ):
        self.made_from, self.run, self.begin = made_from, run, begin
        self.places, self.order, self.reason, self.direct = places, order, reason, None
        self.repeated = repeated or {}

    def see(self, attributes: dict, levels: str, options: tuple, look: tuple) -> None:
        """Remember what the scheduler looks like, to notice when something is replaced."""
        self.timesteps, self.config = attributes["timesteps"], attributes["_internal_dict"]
        self.name, self.levels, self.options = levels, attributes[levels], options
        self.look, self.versions = look, self._versions()

    def _versions(self):
        return version_of(self.timesteps), version_of(self.levels)

    def has_changed(self, scheduler) -> bool:
        """Whether the rows may be out of date although nothing has been replaced. Asked when a loop
        begins."""
        return self._versions() != self.versions or not is_same(look_of(scheduler), self.look)

    def expects(self, place: int, timestep) -> bool:
        """Whether a timestep is that of a row; on a device only views of the timesteps can be told
        apart without waiting."""
        if not isinstance(timestep, Tensor):
            return timestep == self.order[place]
        if timestep.is_cpu:
            if timestep.dim():
                timestep = _the_one(timestep)
            return timestep is not None and timestep.tolist() == self.order[place]
        k = index_in(timestep, self.timesteps)
        return k is None or k == self.begin + place

    def place_of(self, timestep) -> int | None:
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
        return self.run.place if self.run.place in rows else self.places.get(timestep)


def places_of(keys: list, timesteps: list) -> tuple[dict, list, dict]:
    """``places``, ``order`` and ``repeated`` of rows with these timesteps."""
    rows: dict = {}
    for k, t in enumerate(keys):
        rows.setdefault(t, []).append(k)
    places = {t: found[0] for t, found in rows.items()}
    repeated = {t: found for t, found in rows.items() if len(found) > 1}
    order = list(range(len(keys))) if keys is timesteps else [places.get(t) for t in timesteps]
    return places, order, repeated


def index_in(part: Tensor, whole: Tensor) -> int | None:
    """Which element of ``whole`` a view of one of its elements is; None if it is no such view."""
    if part.dtype is not whole.dtype or part.device != whole.device or part.numel() == 0:
        return None
    if any(size > 1 and step for size, step in zip(part.shape, part.stride(), strict=True)):
        return None  # several elements
    size = whole.element_size() * whole.stride(0)
    k, rest = divmod(part.data_ptr() - whole.data_ptr(), size)
    return k if rest == 0 and 0 <= k < len(whole) else None


def _the_one(timesteps: Tensor) -> Tensor | None:
    """The element that all are a view of, as ``t.expand(batch)`` is; None if there are several."""
    shape = zip(timesteps.shape, timesteps.stride(), strict=True)
    if any(size == 0 or size > 1 and step for size, step in shape):
        return None
    return timesteps[(0,) * timesteps.dim()]


def look_of(scheduler) -> tuple:
    """What a plan depends on that is not looked at in every step: attributes, and the config, whose
    own attributes can be set."""
    return [getattr(scheduler, n) for n in scheduler._reads], dict(vars(scheduler._internal_dict))


def version_of(tensor: Tensor) -> int:
    """How often a tensor has been written to; one of inference mode does not count."""
    return 0 if tensor.is_inference() else tensor._version


def is_same(one, other) -> bool:
    try:
        return one == other
    except (ValueError, TypeError, RuntimeError):  # arrays among the values
        return False
