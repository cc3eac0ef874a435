"""Steps that are left to the stock scheduler: what it has to remember, and the warning that says
why."""

import threading
import warnings

from torch.compiler import assume_constant_result, is_compiling

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
        if not is_compiling():  # nothing is kept of what is only traced
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

    def _check_traced(self) -> None:
        """Raise RuntimeError where a step is traced that would look back at fused ones: what they
        remember cannot be handed over while a graph is made."""
        run = self._trajectory and self._trajectory.run
        if self._looks_back and run is not None and run.place > 0 and getattr(self, self._counter):
            raise RuntimeError(
                f"{type(self).__name__}.step: expected a loop that is compiled as a whole, got one "
                f"that is traced after {run.place} fused steps"
            )

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
        raises, its error is all that there is to know. One that torch.compile or torch.export
        traces becomes part of a graph, whose operations the compiler fuses itself."""
        if is_compiling():
            _say_traced(type(self).__name__)
            return getattr(self.stock, name)(self, *args, **kwargs)
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


traced: set[str] = set()  # the classes of which it has been said that they are


@assume_constant_result  # so that it is called when the graph is made, and not in it
def _say_traced(name: str) -> None:
    if name not in traced:
        traced.add(name)
        reason = "torch.compile or torch.export traces it"
        warnings.warn(
            f"{name}: the stock step is used, because {reason}", StockStepWarning, stacklevel=3
        )
