"""The stock scheduler behind a fused one: steps that are left to it, and who has replaced its
methods."""

import functools
import inspect
import types
import warnings
from typing import TYPE_CHECKING, Any

from torch.compiler import assume_constant_result

from .adapters.lowering import Unsupported

STEPS = ("step", "step_pred", "step_correct", "add_noise_to_input")
NOISING = ("add_noise", "get_velocity", "scale_noise")
#: Methods of stock schedulers that fused ones call themselves.
CALLED = (*STEPS, "_init_step_index", "index_for_timestep", "scale_model_input", *NOISING)


class StockStepWarning(UserWarning):
    """A fused scheduler steps as the stock one does; the message says why."""


class BeforeStock:
    """Base of what is put before a class of diffusers, whose attributes it has, too."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Fallback(BeforeStock):
    """The only way from a fused scheduler to the step of the stock one."""

    stock: Any  # the class
    _trajectory: Any = None  # or the ``Trajectory`` of the loop

    def _leave(self, now, reason):
        """Leave this step of a multistep scheduler, and those after it, to the stock one.
        Returns whether fused steps can begin anew instead: there is nothing to remember."""
        if now.run.row > 0:
            self._hand_over(reason)
            return self._is_fresh()
        now.run, now.reason = None, reason
        now.cache_key = ()  # the next trajectory may be another
        return False

    def _check_traced(self) -> None:
        """Raise RuntimeError where a step is traced that would look back at fused ones: what they
        remember cannot be handed over while a graph is made."""
        run = self._trajectory and self._trajectory.run
        if (
            self.spec.multistep
            and run is not None
            and run.row > 0
            and getattr(self, self.spec.counter)
        ):
            raise RuntimeError(
                f"{type(self).__name__}.step: expected a loop that is compiled as a whole, got one "
                f"that is traced after {run.row} fused steps"
            )

    def _hand_over(self, reason: Unsupported) -> None:
        """Let the stock scheduler remember what the fused steps of an unfinished loop have: its
        own steps go on as if there had been no others."""
        now = self._trajectory
        run = None if now is None else now.run
        if run is None or run.row <= 0 or not run.idle:
            return
        memory = self._memory(run.idle[-1], run.rows.rows[: run.row], now.begin)
        self.__dict__.update(memory, _trajectory=None, _past=reason)

    def _memory(self, buffers, rows, begin) -> dict:
        """What the stock scheduler remembers after these rows, by the names of its attributes."""
        return {}

    def _is_fresh(self) -> bool:
        """Whether the stock scheduler remembers nothing that its next step would look at."""
        return True

    def _stock_step(self, reason, method, args, kwargs):
        """The stock step. The warning comes once for each kind of reason, and after the step: where
        that raises, its error is all that there is to know."""
        done = getattr(self.stock, method)(self, *args, **kwargs)
        self._warn(reason, "the stock step is used, because there is no row for", StockStepWarning)
        return done

    def _traced_step(self, method, args, kwargs):
        """The stock step as part of the graph that torch.compile or torch.export makes, whose
        operations the compiler fuses itself."""
        _say_traced(type(self).__name__)
        return getattr(self.stock, method)(self, *args, **kwargs)

    def _warn(self, reason: Unsupported, text: str, category=UserWarning, stacklevel=5):
        warn_once(self, reason.kind, f"{text} {reason}", category, stacklevel)


def warn_once(obj, kind: str, text: str, category: type[Warning], stacklevel: int) -> None:
    """Warn on behalf of an object, once for each kind of reason."""
    said = vars(obj).setdefault("_said", set())
    if kind not in said:
        said.add(kind)
        warnings.warn(f"{type(obj).__name__}: {text}", category, stacklevel)


traced: set[str] = set()  # the classes of which it has been said that they are


@assume_constant_result  # so that it is called when the graph is made, and not in it
def _say_traced(name: str) -> None:
    if name not in traced:
        traced.add(name)
        reason = "torch.compile or torch.export traces it"
        warnings.warn(
            f"{name}: the stock step is used, because {reason}", StockStepWarning, stacklevel=3
        )


@functools.cache
def helpers_of(stock: type) -> frozenset[str]:
    """The methods to which the steps of a stock scheduler come: rows stand for what they do."""
    found, ahead = set(), [name for name in STEPS if hasattr(stock, name)]
    while ahead:
        method = inspect.unwrap(getattr(stock, ahead.pop()))
        for name in getattr(getattr(method, "__code__", None), "co_names", ()):
            value = inspect.getattr_static(stock, name, None)
            if callable(value) and name not in found and name not in CALLED:
                found.add(name)
                ahead.append(name)
    return frozenset(found)


def own_code(scheduler) -> str:
    """What a scheduler has of its own in place of its class's methods, said as a reason; ""."""
    own = [n for n in vars(scheduler) if callable(getattr(type(scheduler), n, None))]
    return f"it has a {' and a '.join(own)} of its own" if own else ""


def own_helpers(attributes: dict, cls: type) -> list[str]:
    """Names of helpers of the stock step that have been replaced in a fused scheduler, by a
    subclass or in the object, which has these attributes."""
    inherited, helpers = _replaced(cls)
    if not inherited and helpers.isdisjoint(attributes):
        return []
    return sorted(inherited | helpers.intersection(attributes))


@functools.cache
def _replaced(cls):
    """(helpers that subclasses have replaced, all helpers)"""
    helpers, line = helpers_of(cls.stock), cls.__mro__
    ours = next(k for k, base in enumerate(line) if "stock" in vars(base))
    own = (helpers.intersection(vars(base)) for base in line[:ours])
    return frozenset().union(*own), helpers


def like(stock, ours):
    """A copy of our method with the signature of the stock one."""
    made = types.FunctionType(
        ours.__code__, ours.__globals__, ours.__name__, ours.__defaults__, ours.__closure__
    )
    made.__kwdefaults__ = ours.__kwdefaults__
    return functools.wraps(stock)(made)
