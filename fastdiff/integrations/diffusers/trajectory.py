"""What one thread is doing with a scheduler: which rows, made from what."""

from torch import Tensor

from .run import Run


class Host:
    """A scheduler seen with all its tensors on the host, which is where plans are made.

    Tensors on another device are copied where the timesteps are set, so that no step waits.
    """

    def __init__(self, scheduler):
        self._scheduler = scheduler

    def __getattr__(self, name):
        value = getattr(self._scheduler, name)
        if not isinstance(value, Tensor) or value.device.type == "cpu":
            return value
        copies = vars(self._scheduler).setdefault("_on_host", {})
        if name not in copies or copies[name][0] is not value:
            copies[name] = value, value.to("cpu")
        return copies[name][1]

    def fetch(self, *names: str) -> None:
        """Copy these attributes now."""
        for name in names:
            getattr(self, name, None)


class Trajectory:
    """Rows of a scheduler on their way.

    Attributes:
        run: the rows and their buffers; None: stock steps, for ``reason``.
        begin: the scheduler's count at row 0.
        places, order: timestep -> row, and the row of each timestep, for schedulers that are told
            the timestep; for those that are told it and count, too, only ``order``: the timestep of
            each row.
        made_from: what would make another one.
    """

    def __init__(
        self, made_from: tuple, run: Run | None, begin=0, places=None, order=(), reason=""
    ):
        self.made_from, self.run, self.begin = made_from, run, begin
        self.places, self.order, self.reason = places, order, reason

    def see(self, attributes: dict, levels: str, options: tuple) -> None:
        """Remember what the scheduler looks like, to notice when something is replaced."""
        self.timesteps, self.config = attributes["timesteps"], attributes["_internal_dict"]
        self.name, self.levels, self.options = levels, attributes[levels], options

    def is_over(self, attributes: dict, options: tuple) -> bool:
        return (
            self.timesteps is not attributes["timesteps"]
            or self.levels is not attributes[self.name]
            or self.config is not attributes["_internal_dict"]
            or self.options != options
        )

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
            return self.places.get(timestep)
        if timestep.is_cpu:
            if timestep.dim():
                timestep = _the_one(timestep)
            return None if timestep is None else self.places.get(timestep.tolist())
        k = index_in(timestep, self.timesteps)
        return None if k is None else self.order[k]


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
