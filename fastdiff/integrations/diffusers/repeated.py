"""Timesteps that are there more than once, and what is said of them."""

from torch import Tensor

from .fallback import Fallback
from .run import Declined, is_transformed
from .trajectory import Host, index_in

IN_TURN = (
    "timestep {} is there {} times, and the steps from there are done in turn, where the stock "
    "scheduler does the first of them each time"
)
SECOND = (
    "timestep {} is there more than once, and the count of steps begins with the second one, {}, "
    "as that of the stock scheduler does: the last of {} steps fails; set_begin_index({}) begins "
    "with the first"
)


class Repeated(Fallback):
    """The warnings."""

    def _warn_of_the_second(self, timestep):
        """Say so if the count begins one step too late for a loop from this timestep."""
        if is_transformed():  # where the values of a timestep are not readable
            return
        host, first = Host(self).timesteps.tolist(), None
        if isinstance(timestep, Tensor):
            first = index_in(timestep, self.timesteps)
            if first is None and not (timestep.is_cpu and timestep.numel() == 1):
                return
        if first is None:  # from some tensor or number, as if it were the first
            first = 0 if float(timestep) == host[0] else self._step_index
        if first and self.order == 2:  # each of its later timesteps is there for both stages
            return
        if first < self._step_index < len(host) and host[first] == host[self._step_index]:
            reason = Declined(SECOND, host[first], self._step_index, len(host) - first, first)
            self._warn(reason, "the loop will be one step too long:")

    def _warn_of_turns(self, repeated, rows):
        """Say so if steps from the same timestep differ. ``repeated``: timestep -> its rows."""
        for t, places in repeated.items():
            if (rows[places] != rows[places[0]]).any():
                self._warn(Declined(IN_TURN, t, len(places)), "other results than stock's:")
