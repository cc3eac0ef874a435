"""What every fused scheduler has in common: its ``step`` executes one row.

A fused scheduler is a subclass of the stock one and leaves everything but ``step`` to it. It reads
off the scheduler what is to be done when the first step of a trajectory comes (``plan.py``), so that
whatever set the timesteps before is respected; later steps only check that nothing has been
replaced since. What has no row is left to the stock step, with one warning that says why.
"""

import functools
import inspect
import types
import warnings
from threading import get_ident

import torch
from diffusers import SchedulerMixin
from diffusers.utils import logging
from torch import Tensor, is_grad_enabled
from torch.compiler import is_compiling

from . import noise as noise_
from .gradient import differentiable
from .output import build, field_names, result_class
from .plan import Plan, Unfit, rows_of
from .run import Run

logger = logging.get_logger("diffusers.schedulers.fastdiff")

UNSCALED = (
    "%s.step: scale_model_input was not called before, so that the model has seen a sample that is "
    "not scaled"
)


class StockStepWarning(UserWarning):
    """A fused scheduler does a step as the stock scheduler does, for the reason given."""


class Host:
    """A scheduler whose tensors are on the host, for those who plan."""

    def __init__(self, scheduler):
        self._scheduler = scheduler

    def __getattr__(self, name):
        value = getattr(self._scheduler, name)
        if isinstance(value, Tensor) and value.device.type != "cpu":
            return self._scheduler._on_host(name, value)
        return value


class Fused:
    """Base of the fused schedulers; goes before the stock class.

    Attributes:
        noise: "torch", what the stock scheduler draws from the generators given to ``step``; or
            "philox", fastdiff's own, drawn in the kernel, from keys that are taken from the
            generators when a trajectory begins.
    """

    noise = "torch"

    # What is different from class to class.
    _planner = None  # (host view, [begin,] *options) -> Plan
    _levels = "sigmas"  # the tensor that has the noise levels
    _reads: tuple[str, ...] = ()  # attributes besides the config on which the plan depends
    _indexed = True  # counts its steps; otherwise it is told the timestep
    _looks_back = False  # rows depend on those before
    _upcasts = True  # computes in float32 and returns the dtype of the model's output
    _noise_dtype: torch.dtype | str = "output"
    _second = False  # returns a second result
    _floating = False  # refuses integer timesteps

    _fused = None  # thread -> Run

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        stock = next(
            (c for c in cls.__mro__ if issubclass(c, SchedulerMixin) and not issubclass(c, Fused)),
            None,
        )
        if stock is None:
            return
        cls.stock = stock
        cls._result = result_class(stock)
        cls._names = field_names(cls._result)[: 2 if cls._second else 1]
        cls.step = functools.wraps(stock.step)(_copied(cls.step))
        if hasattr(stock, "set_timesteps"):
            cls.set_timesteps = functools.wraps(stock.set_timesteps)(_copied(Fused._set_timesteps))

    def _set_timesteps(self, *args, **kwargs):
        done = self.stock.set_timesteps(self, *args, **kwargs)
        for name in ("timesteps", self._levels, *self._reads):
            value = getattr(self, name, None)
            if isinstance(value, Tensor) and value.device.type != "cpu":
                self._on_host(name, value)
        return done

    def _on_host(self, name, value):
        """A copy that is made where the timesteps are set, so that no step waits for it."""
        copies = self.__dict__.setdefault("_host", {})
        if name not in copies or copies[name][0] is not value:
            copies[name] = value, value.to("cpu")
        return copies[name][1]

    def __copy__(self):
        made = self.__class__.__new__(self.__class__)
        vars(made).update(vars(self))
        vars(made).pop("_fused", None)  # buffers are nobody else's
        return made

    # -- the step ----------------------------------------------------------------------------------

    def _advance(
        self, model_output, timestep, sample, return_dict, generator=None, noise=None, options=()
    ):
        """The step as one row; None: the stock step is to do it."""
        if model_output.__class__ is not Tensor or is_compiling():
            return self._decline("a model output that is no plain tensor")
        attributes = self.__dict__
        runs = self._fused
        run = runs.get(get_ident()) if runs else None
        if (
            run is None
            or run.timesteps is not attributes["timesteps"]
            or run.levels is not attributes[self._levels]
            or run.config is not attributes["_internal_dict"]
            or run.options != options
        ):
            run = self._start(timestep, options)
        if run.reason is not None:
            return None
        place = self._place(run, attributes, timestep)
        bound = run.bound
        if self._looks_back and place != (bound.place if bound else 0):
            run = self._start(timestep, options)
            if run.reason is not None:
                return None
            place, bound = 0, None
        if place is None or not 0 <= place < len(run.draws):
            return self._decline(f"a timestep that is none of the scheduler's: {timestep}")
        if self._floating and not _is_floating(timestep):
            return None  # which refuses it
        if (
            bound is None
            or sample is not bound.given
            or sample._version != bound.version
            or model_output.dtype is not bound.output_dtype
        ):
            bound = self._take(run, sample, model_output, place)
            if bound is None:
                return None
        gain = None
        if model_output.shape != bound.x.shape:
            split = self._split(run, model_output, bound.x)
            if split is None:
                return self._decline("a model output of another shape than the sample", run, place)
            model_output, gain = split
        if bound.place != place:
            bound.go(place)
            if run.philox and any(run.draws):
                noise_.take_keys(bound.buffers["keys"], generator)
        if run.draws[place] and not run.philox:
            if noise is not None:
                bound.z.copy_(noise)
            else:
                noise_.draw(bound.z, generator, self._dtype_of_noise(model_output))
        wanted = model_output.dtype if self._upcasts else bound.promoted
        if is_grad_enabled() and (model_output.requires_grad or sample.requires_grad):
            values = self._differentiate(bound, model_output, sample, gain, wanted)
        else:
            bound.graph = None
            if gain is None:
                bound.execute(model_output)
            else:
                bound.execute(model_output, gain)
            values = (bound.hand_out(wanted, sample),)
            if bound.second is not None:
                second = bound.second
                values = (
                    values[0],
                    second.clone() if self._upcasts or wanted is second.dtype else second.to(wanted),
                )
        bound.place = place + 1
        if self._indexed:
            attributes["_step_index"] += 1
        self._mirror(place, sample)
        return build(self._result, self._names, values) if return_dict else values
