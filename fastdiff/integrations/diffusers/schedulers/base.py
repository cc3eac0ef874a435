"""What every fused scheduler has in common: its ``step`` executes one row.

A fused scheduler is a subclass of the stock one and leaves everything but ``step`` to it. What is
to be done is read off the scheduler when the first step of a trajectory comes (``adapters``), so
that it does not matter who set the timesteps, and how; later steps check that nothing has been
replaced since. A call for which there is no row goes to the stock step as it came, and a warning
says why.
"""

import copy
import inspect
from typing import Any

from diffusers.utils import logging
from torch import Tensor
from torch.compiler import is_compiling

from ..adapters.lowering import NO_ROWS, Unsupported, rows_of
from ..execute import TRANSFORM, Run, is_transformed
from ..step_index import (
    Host,
    Trajectory,
    fingerprint,
    index_in,
    is_same,
    on_host,
    warn_of_the_second,
    warn_of_turns,
)
from ..stock import Fallback, own_helpers

logger = logging.get_logger("diffusers.schedulers.fastdiff")

NOISE = "_fastdiff_noise"  # in the config

UNSCALED = "%s: scale_model_input was not called before step: the model has seen another scale."
ARGUMENTS = "arguments that its step does not have"
UNSET = Unsupported("timesteps that were not set")
INTEGER = Unsupported("an integer as timestep")
PAST = Unsupported("what it remembers of steps that were not fused")
MOVED = Unsupported("a count of steps that was moved in the middle of a loop")
REPLACED = Unsupported("timesteps, levels or options that were replaced in the middle of a loop")


def generic_step(method: str, call: str = "_call"):
    """The method of a fused scheduler in place of a stock method that steps. A call for which there
    is no row goes to the stock method as it came."""

    def step(self, *args, **kwargs):
        if is_compiling():
            self._check_traced()
            return self._traced_step(method, args, kwargs)
        try:
            return getattr(self, call)(*args, **kwargs)
        except Unsupported as reason:
            # the reason may be kept; the frames that it went through hold tensors
            reason.__traceback__ = reason.__cause__ = reason.__context__ = None
            return self._stock_step(reason, method, args, kwargs)
        except TypeError:
            inspect.signature(getattr(self.stock, method)).bind(self, *args, **kwargs)  # or raises
            raise

    step.__name__ = method
    return step


class Fused(Fallback):
    """Base of the fused schedulers, before the stock class.

    Attributes:
        stock: the class that this one replaces.
        spec: how it differs from the others.
        keeps_result: whether its memory is made of the last result, too.
    """

    keeps_result = False
    spec: Any  # a ``Spec``, or what finds one for each instance
    parameters: tuple[str, ...]  # of the stock step, after the first three
    option_defaults: tuple  # of ``spec.options``

    @property
    def noise(self) -> str:
        """Where noise comes from; to be set between trajectories.

        "torch": what the stock scheduler draws, from the generators given to ``step``. "philox":
        fastdiff's own, drawn in the kernel, with keys that are taken from the generators when a
        trajectory begins. It is kept in the config, where stock schedulers let it pass.
        """
        return self.__dict__["_internal_dict"].get(NOISE, "torch")

    @noise.setter
    def noise(self, source: str):
        if source not in ("torch", "philox"):
            raise ValueError(f'noise: expected "torch" or "philox", got {source!r}')
        if source != self.noise:
            self.register_to_config(**{NOISE: source})

    def _set_timesteps(self, *args, **kwargs):
        now = self._trajectory
        row, run = None, None if now is None else now.run
        if run is not None:  # what is remembered is forgotten, without a word to the stock step
            row, run.row = run.row, -1
        try:
            done = self.stock.set_timesteps(self, *args, **kwargs)
        except BaseException:
            if run is not None:
                run.row = row
            raise
        if not self.timesteps.is_cpu:
            Host(self).fetch("timesteps", self.spec.levels, *self.spec.tensors)
        return done

    def _init_step_index(self, timestep):
        """As the stock method, but a view of the timesteps on a device is found without a sync."""
        k, traced = None, is_compiling()
        found = isinstance(timestep, Tensor) and not timestep.is_cpu and not traced
        if self.begin_index is None and found:
            k = index_in(timestep, self.timesteps)
        if k is None:
            self.stock._init_step_index(self, timestep)
        else:
            host = Host(self).timesteps
            self._step_index = self.index_for_timestep(host[k], host)  # the second one, of two
        if self.begin_index is None and not traced and self._step_index:
            warn_of_the_second(self, timestep)

    def _call(
        self, model_output=None, timestep=None, sample=None, *rest, generator=None,
        variance_noise=None, return_dict=True, **more,
    ):  # fmt: skip
        """What the step returns, from a row. Called with the arguments of the step.

        Raises:
            Unsupported: there is no row for them.
        """
        spec, names, options = self.spec, self.parameters, self.option_defaults
        if rest or more:
            call = dict(zip(names, rest, strict=False), **more)
            if len(call) != len(rest) + len(more) or not call.keys() <= set(names):
                raise Unsupported(ARGUMENTS)
            for name in spec.refuses:
                if call.get(name) is not None:
                    raise Unsupported(name)
            defaults = zip(spec.options, options, strict=True)
            options = tuple(call.get(name, default) for name, default in defaults)
            generator = call.get("generator", generator)
            variance_noise = call.get("variance_noise", variance_noise)
            return_dict = call.get("return_dict", return_dict)
        if generator is not None or variance_noise is not None:
            if (generator is not None and "generator" not in names) or (
                variance_noise is not None and "variance_noise" not in names
            ):
                raise Unsupported(ARGUMENTS)
            if spec.one_noise and generator is not None and variance_noise is not None:
                raise Unsupported("a generator beside noise")
        values = self._execute(model_output, timestep, sample, options, generator, variance_noise)
        return self._build(values) if return_dict else values

    def _execute(
        self, model_output, timestep, sample, options=(), generator=None, noise=None, known=None,
        before=None,
    ) -> tuple:  # fmt: skip
        """The next sample and the second result, if there is one, from a row.

        Args:
            timestep: says which row it is, see ``_row``.
            options: of the adapter.
            generator, noise, known, before: as in ``Run.step``.

        Raises:
            Unsupported: there is no such row.
        """
        spec = self.spec
        if sample is None:
            raise Unsupported(ARGUMENTS)
        now, row = self._locate(timestep, options)
        if spec.floating_timesteps and not _is_floating(timestep):  # the stock step mostly refuses
            if spec.multistep:
                self._hand_over(INTEGER)
                self._past = INTEGER
            raise INTEGER
        try:
            if row is None:
                raise Unsupported(spec.no_row, timestep)
            if model_output.__class__ is not Tensor or sample.__class__ is not Tensor:
                raise Unsupported("a model output of another class than Tensor")
            if not 0 <= row < now.run.steps:
                raise Unsupported("a step that is none of its {}", now.run.steps)
            if spec.index == "both" and not now.expects(row, timestep):
                expected = now.order[row]
                raise Unsupported("timestep {}, where its count expects {}", timestep, expected)
            values = now.run.step(row, model_output, sample, generator, noise, known, before)
        except Unsupported as reason:
            if not (spec.multistep and self._leave(now, reason)):
                raise
            return self._execute(
                model_output, timestep, sample, options, generator, noise, known, before
            )
        if spec.counter is not None:
            self._count(row, sample)
        return values

    def _locate(self, timestep, options):
        """The trajectory that a step is part of, which may begin with it, and the row."""
        attributes = self.__dict__
        now = attributes.get("_trajectory")
        if (
            now is None
            or now.timesteps is not attributes["timesteps"]
            or now.levels is not attributes[now.name]
            or now.config is not attributes["_internal_dict"]
            or now.options != options
        ):
            now = self._begin(timestep, options, REPLACED)
        if now.run is None:
            raise now.reason
        rows = now.direct
        if rows is not None and timestep.__class__ is Tensor and timestep.is_cpu:
            try:  # as self._row does
                row = rows.get(timestep.tolist())
            except TypeError:  # there are several
                row = now.row_of(timestep)
        else:
            row = self._row(now, attributes, timestep)
        last = now.run.row
        if row != last and row != max(last, 0):  # a loop begins anew, or jumps
            if self.spec.multistep or (last > 0 and now.has_changed(self)):
                now = self._begin(timestep, options, MOVED)
                if now.run is None:
                    raise now.reason
                row = self._row(now, attributes, timestep)
        return now, row

    def _row(self, now, attributes, timestep):
        if self.spec.counter is not None and attributes[self.spec.counter] is None:
            self._init_step_index(timestep)
        if self.spec.scales_input and not attributes["is_scale_input_called"]:
            logger.warning(UNSCALED, type(self).__name__)
        if self.spec.index == "timestep":
            return now.row_of(timestep)
        return attributes[self.spec.counter] - now.begin

    def _count(self, row, sample):
        """Keep the stock scheduler's own account of where it is."""
        self.__dict__[self.spec.counter] += 1

    def _begin(self, timestep, options, why):
        """A trajectory that starts with this step; the buffers of the one before, if it was the
        same. ``why`` there is another one, should one be in the middle."""
        attributes, spec = self.__dict__, self.spec
        if self._are_unset(attributes):
            return Trajectory((), reason=UNSET)  # the stock step says so
        if is_transformed():  # the values of a tensor are not readable there
            return Trajectory((), reason=Unsupported(TRANSFORM))
        if spec.counter is not None and attributes[spec.counter] is None:
            self._init_step_index(timestep)
        begin = attributes[spec.counter] if spec.multistep else 0
        if own := own_helpers(attributes, type(self)):
            return Trajectory((), reason=Unsupported(f"{', '.join(own)} of its own"))
        if spec.multistep:
            self._hand_over(why)
            if not self._is_fresh():
                return Trajectory((), reason=attributes.get("_past", PAST))
        tensors = on_host(self, "timesteps"), on_host(self, spec.levels)
        seen = fingerprint(self)
        cache_key = (*(t.numpy().tobytes() for t in tensors), begin, options, self.noise, *seen)
        now = attributes.get("_trajectory")
        if now is None or not is_same(now.cache_key, cache_key):
            now = self._made(begin, options, cache_key)
        elif now.run is not None:
            now.run.rewind()
        past = attributes.pop("_past", None)
        if now.run is None and past is not None:
            now.reason = past  # it is why there is a start in the middle at all
        now.watch(attributes, spec.levels, options, seen)
        attributes["_trajectory"] = now
        return now

    def _are_unset(self, attributes):
        steps = attributes.get("num_inference_steps", 0)
        unset = steps is None and self.spec.needs_timesteps
        return unset or not isinstance(attributes.get("timesteps"), Tensor)

    def _made(self, begin, options, cache_key):
        """A new trajectory, by the adapter."""
        spec, host = self.spec, Host(self)
        try:
            sampler = spec.adapter(host, *((begin,) if spec.multistep else ()), *options)
            rows = rows_of(sampler)
        except NO_ROWS as error:
            return Trajectory(cache_key, reason=Unsupported(str(error)))
        philox = self.noise == "philox" and not spec.noise_given
        run = Run(rows, spec.dtypes, philox, self.keeps_result)
        timesteps = () if spec.index == "counter" else host.timesteps.tolist()
        made = Trajectory(cache_key, run, begin, timesteps[begin:])
        if spec.index == "timestep":
            made.find_rows(sampler.timesteps)
            in_turn = type(self)._row is Fused._row
            if made.repeated and in_turn:
                warn_of_turns(self, made.repeated, rows.rows)
            elif spec.counter is None and in_turn:
                made.direct = made.rows
        return made

    def __getstate__(self):
        return dict(vars(self))  # another thread may begin to step while this one copies

    def __copy__(self):
        made = self.__class__.__new__(self.__class__)
        vars(made).update(vars(self))
        if self._trajectory is not None:  # buffers belong to one scheduler
            seen = {id(v): v for v in vars(self).values() if v is not self._trajectory}
            made._trajectory = copy.deepcopy(self._trajectory, seen)
        return made


def _is_floating(timestep):
    if isinstance(timestep, Tensor):
        return timestep.is_floating_point()
    return not isinstance(timestep, int)
