"""Steps that are left to the stock scheduler: what it has to remember, and the warning that says
why."""

import threading
import warnings

from .run import Declined

pending = threading.local()  # why the stock step that comes next in this thread is done


class StockStepWarning(UserWarning):
    """A fused scheduler steps as the stock one does; the message says why."""


class Fallback:
    """The only way from a fused scheduler to the step of the stock one."""

    stock: type
    _trajectory = None  # or the ``Trajectory`` of the loop

    def _decline(self, reason: Declined) -> None:
        """Leave the step to the stock scheduler; None, as of a fused step that was not done."""
        pending.reason = reason

    def _leave(self, now, reason):
        """Leave this step of a scheduler that looks back, and those after it, to the stock one.
        Returns whether fused steps can begin anew instead: there is nothing to remember."""
        if now.run.place > 0:
            self._hand_over(reason)
            return self._is_fresh()
        now.run, now.reason = None, reason
        now.made_from = ()  # the next trajectory may be another
        return False

    def _hand_over(self, reason: Declined) -> None:
        """Let the stock scheduler remember what the fused steps of an unfinished loop have: its
        own steps go on as if there had been no others."""
        now = self._trajectory
        run = None if now is None else now.run
        if run is None or run.place <= 0 or not run.idle:
            return
        memory = self._memory(run.idle[-1], run.rows.rows[: run.place], now.begin)
        self.__dict__.update(memory, _trajectory=None, _past=reason)

    def _memory(self, buffers, rows, begin) -> dict:
        """What the stock scheduler remembers after these rows, by the names of its attributes."""
        return {}

    def _is_fresh(self) -> bool:
        """Whether the stock scheduler remembers nothing that its next step would look at."""
        return True

    def _stock_step(self, name, *args, **kwargs):
        """The stock step. It warns once for each kind of reason, and after the step: where that
        raises, its error is all that there is to know."""
        reason = getattr(pending, "reason", None) or Declined("this call")
        pending.reason = None
        done = getattr(self.stock, name)(self, *args, **kwargs)
        self._warn(reason, "the stock step is used, because there is no row for", StockStepWarning)
        return done

    def _warn(self, reason: Declined, text: str, category=UserWarning):
        """Warn, once for each kind of reason."""
        said = self.__dict__.setdefault("_said", set())
        if reason.kind not in said:
            said.add(reason.kind)
            warnings.warn(f"{type(self).__name__}: {text} {reason}", category, stacklevel=4)
