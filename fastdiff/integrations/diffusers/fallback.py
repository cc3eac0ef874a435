"""Steps that are left to the stock scheduler, and the warning that says why."""

import threading
import warnings

from .run import Declined

pending = threading.local()  # why the stock step that comes next in this thread is done


class StockStepWarning(UserWarning):
    """A fused scheduler steps as the stock one does; the message says why."""


class Fallback:
    """The only way from a fused scheduler to the step of the stock one."""

    stock: type

    def _decline(self, reason: Declined) -> None:
        """Leave the step to the stock scheduler; None, as of a fused step that was not done."""
        pending.reason = reason

    def _stock_step(self, name, *args, **kwargs):
        """The stock step. It warns once for each kind of reason, and after the step: where that
        raises, its error is all that there is to know."""
        reason = getattr(pending, "reason", None) or Declined("this call")
        pending.reason = None
        done = getattr(self.stock, name)(self, *args, **kwargs)
        said = self.__dict__.setdefault("_said", set())
        if reason.kind not in said:
            said.add(reason.kind)
            warnings.warn(
                f"{type(self).__name__}: the stock step is used, because there is no row for "
                f"{reason}",
                StockStepWarning,
                stacklevel=3,
            )
        return done
