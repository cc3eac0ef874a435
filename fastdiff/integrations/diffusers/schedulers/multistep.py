"""Multistep schedulers whose memory people look into."""

from ....row import COLUMN
from ..fused import Fused


def _handed_over(name: str) -> property:
    """An attribute of the stock scheduler's memory. Fused steps keep theirs in other buffers; who
    looks at it, to cut it in the middle of a loop for instance, gets it, and stock steps from there
    on."""

    def look(self):
        self._hand_over(f"a loop that looks at {name}")
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}") from None

    return property(look, lambda self, value: self.__dict__.__setitem__(name, value))


class Multistep(Fused):
    """Schedulers that remember converted outputs of the model, the last at the end."""

    _looks_back = True
    _drops = 1  # the oldest of the outputs is not used again
    model_outputs = _handed_over("model_outputs")

    def _hand_over(self, reason):
        now = self._trajectory
        run = None if now is None else now.run
        if run is None or run.place <= 0 or not run.idle:
            return False
        self._fill(run.idle[-1], run.rows.rows, run.place)
        now.run, now.reason, now.made_from = None, reason, ()
        self._say(reason)
        return True

    def _fill(self, buffers, rows, place):
        """The stock scheduler's memory, after ``place`` rows."""
        order = self.config.solver_order
        outputs = [None] * order
        for back in range(1, min(order - self._drops, place) + 1):
            slot = int(rows[place - back, COLUMN["slot"]])
            outputs[-back] = buffers.remembered(slot)
        self.__dict__["model_outputs"] = outputs
        self.lower_order_nums = min(place, order)


class Corrected(Multistep):
    """... and the sample from which the last step was taken."""

    _drops = 0
    last_sample = _handed_over("last_sample")

    def _fill(self, buffers, rows, place):
        super()._fill(buffers, rows, place)
        order, last = self.config.solver_order, self._step_index - 1
        left = len(self.timesteps) - last if self.config.lower_order_final else order
        self.this_order = min(order, left, place)
        self.__dict__["last_sample"] = buffers.remembered()
        told = [None] * order + list(self.timesteps[last + 1 - min(order, place) : last + 1])
        self.timestep_list = told[-order:]
