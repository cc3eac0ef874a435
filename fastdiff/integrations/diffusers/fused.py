"""What every fused scheduler has in common: its ``step`` executes one row.

A fused scheduler is a subclass of the stock one and leaves everything but ``step`` to it. What is
to be done is read off the scheduler when the first step of a trajectory comes (``plans``), so that
it does not matter who set the timesteps, and how; later steps check that nothing has been replaced
since. What has no row is left to the stock step, with a warning that says why.
"""

import copy

from diffusers import SchedulerMixin
from diffusers.utils import logging
from torch import Tensor
from torch.compiler import is_compiling

from .habits import Habits
from .methods import NOISING, STEPS, like, own_helpers
from .output import builder, field_names, result_class
from .plans.plan import NO_ROWS, rows_of
from .repeated import Repeated
from .run import TRANSFORM, Declined, Run, is_transformed
from .trajectory import Host, Trajectory, index_in, is_same, look_of, on_host, places_of

logger = logging.get_logger("diffusers.schedulers.fastdiff")

PUBLIC = __name__.rpartition(".")[0]  # where saved pipelines look for the classes

UNSCALED = "%s: scale_model_input was not called before step: the model has seen another scale."


NOISE = "_fastdiff_noise"  # in the config

UNSET = Declined("timesteps that were not set")
INTEGER = Declined("an integer as timestep")
PAST = Declined("what it remembers of steps that were not fused")
MOVED = Declined("a count of steps that was moved in the middle of a loop")
REPLACED = Declined("timesteps, levels or options that were replaced in the middle of a loop")


class Fused(Repeated):
    """Base of the fused schedulers, before the stock class.

    Attributes:
        stock: the class that this one replaces.
    """

    # How one class differs from another.
    _planner = None  # (scheduler, [begin,] *options) -> Plan
    _levels = "sigmas"  # the tensor of the noise levels
    _reads: tuple[str, ...] = ()  # attributes besides the config that the plan depends on
    _also: tuple[str, ...] = ()  # other tensors for the plan, made together with the levels
    _counter: str | None = "_step_index"  # where it counts its steps
    _needs_timesteps = True  # it refuses to step before they are set
    _told = False  # the timestep says which step it is, not the count
    _told_too = False  # the timestep and the count both say so, and have to agree
    _looks_back = False  # a step depends on those before it
    _habits = Habits()
    _second = False  # step returns a second result
    _given = False  # the caller gives the noise
    _astray = ""  # what to say of a call for which there is no row
    _floating = False  # it refuses integers as timesteps
    _scales = False  # it expects scale_model_input to be called

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        stock = next((c for c in cls.__mro__ if _is_stock(c)), None)
        if stock is not None and cls.__module__.startswith(PUBLIC):  # not people's own subclasses
            cls.stock, cls._result = stock, result_class(stock)
            cls.__module__ = PUBLIC
            names = field_names(cls._result)[: 1 + cls._second]
            cls._build = staticmethod(builder(cls._result, names)) if names else None
            cls.set_timesteps = like(stock.set_timesteps, Fused._set_timesteps)
            if not hasattr(stock, "scale_model_input"):
                cls.scale_model_input = _unscaled
            for name in (*STEPS, *NOISING):
                ours = getattr(cls, name, None)
                if ours is not getattr(stock, name, None):
                    setattr(cls, name, like(getattr(stock, name), ours))

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
        place, run = None, None if now is None else now.run
        if run is not None:  # what is remembered is forgotten, without a word to the stock step
            place, run.place = run.place, -1
        try:
            done = self.stock.set_timesteps(self, *args, **kwargs)
        except Exception:
            if run is not None:
                run.place = place
            raise
        if not self.timesteps.is_cpu:
            Host(self).fetch("timesteps", self._levels, *self._also)
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
            self._warn_of_the_second(timestep)

    def _advance(
        self, output, timestep, sample, return_dict, generator=None, noise=None, options=(),
        known=None, before=None,
    ):  # fmt: skip
        """The step as one row; None: the stock step is to do it."""
        if is_compiling():
            return self._check_traced()
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
        run = now.run
        if run is None:
            return self._decline(now.reason)
        places = now.direct
        if places is not None and timestep.__class__ is Tensor and timestep.is_cpu:
            try:  # as self._place does
                place = places.get(timestep.tolist())
            except TypeError:  # several
                place = now.place_of(timestep)
        else:
            place = self._place(now, attributes, timestep)
        if place != run.place:  # a loop begins, or jumps
            jumps = place != max(run.place, 0)
            if jumps and (self._looks_back or (run.place > 0 and now.has_changed(self))):
                now = self._begin(timestep, options, MOVED)
                run = now.run
                if run is None:
                    return self._decline(now.reason)
                place = self._place(now, attributes, timestep)
        if self._floating and not _is_floating(timestep):  # the stock step mostly refuses it
            if self._looks_back:
                self._hand_over(INTEGER)
                attributes["_past"] = INTEGER
            return self._decline(INTEGER)
        try:
            if place is None:
                raise Declined(
                    self._astray or "timestep {}, which is none of its timesteps", timestep
                )
            if output.__class__ is not Tensor or sample.__class__ is not Tensor:
                raise Declined("a model output of another class than Tensor")
            if not 0 <= place < run.steps:
                raise Declined("a step that is none of its {}", run.steps)
            if self._told_too and not now.expects(place, timestep):
                raise Declined(
                    "timestep {}, where its count expects {}", timestep, now.order[place]
                )
            values = run.step(place, output, sample, generator, noise, known, before)
        except Declined as reason:
            if not (self._looks_back and self._leave(now, reason)):
                return self._decline(reason)
            return self._advance(
                output, timestep, sample, return_dict, generator, noise, options, known, before
            )
        if self._counter is not None:
            self._count(place, sample)
        return self._build(values) if return_dict else values

    def _place(self, now, attributes, timestep):
        if self._counter is not None and attributes[self._counter] is None:
            self._init_step_index(timestep)
        if self._scales and not attributes["is_scale_input_called"]:
            logger.warning(UNSCALED, type(self).__name__)
        if self._told:
            return now.place_of(timestep)
        return attributes[self._counter] - now.begin

    def _count(self, place, sample):
        """Keep the stock scheduler's own account of where it is."""
        self.__dict__[self._counter] += 1

    def _begin(self, timestep, options, why):
        """A trajectory that starts with this step; the buffers of the one before, if it was the
        same. ``why`` there is another one, should one be in the middle."""
        attributes = self.__dict__
        if self._are_unset(attributes):
            return Trajectory((), None, reason=UNSET)  # the stock step says so
        if is_transformed():  # which lets nobody look at the numbers of a tensor
            return Trajectory((), None, reason=Declined(TRANSFORM))
        if self._counter is not None and attributes[self._counter] is None:
            self._init_step_index(timestep)
        begin = attributes[self._counter] if self._looks_back else 0
        if own := own_helpers(attributes, type(self)):
            return Trajectory((), None, reason=Declined(f"{', '.join(own)} of its own"))
        if self._looks_back:
            self._hand_over(why)
            if not self._is_fresh():
                return Trajectory((), None, reason=attributes.get("_past", PAST))
        before = attributes.get("_trajectory")
        made_from = self._made_from(begin, options)
        if before is not None and is_same(before.made_from, made_from):
            now = before
            if now.run is not None:
                now.run.rewind()
        else:
            now = self._plan(timestep, begin, options, made_from)
        past = attributes.pop("_past", None)
        if now.run is None and past is not None:
            now.reason = past  # which is why there is a start in the middle at all
        now.see(attributes, self._levels, options, made_from[-2:])
        attributes["_trajectory"] = now
        return now

    def _are_unset(self, attributes):
        steps = attributes.get("num_inference_steps", 0)
        unset = steps is None and self._needs_timesteps
        return unset or not isinstance(attributes.get("timesteps"), Tensor)

    def _made_from(self, begin, options):
        tensors = on_host(self, "timesteps"), on_host(self, self._levels)
        values = [t.numpy().tobytes() for t in tensors]
        return *values, begin, options, self.noise, *look_of(self)

    def _plan(self, timestep, begin, options, made_from):
        host = Host(self)
        try:
            plan = self._planned(host, begin, options, timestep)
            rows = rows_of(plan)
        except NO_ROWS as error:
            return Trajectory(made_from, None, reason=Declined(str(error)))
        run = Run(rows, self._habits, self.noise == "philox" and not self._given)
        if not self._told and not self._told_too:
            return Trajectory(made_from, run, begin)
        timesteps = host.timesteps.tolist()
        if self._told_too:
            return Trajectory(made_from, run, begin, order=timesteps[begin:])
        made = Trajectory(made_from, run, 0, *places_of(self._keys(timesteps), timesteps))
        in_turn = type(self)._place is Fused._place
        if made.repeated and in_turn:
            self._warn_of_turns(made.repeated, rows.rows)
        elif self._counter is None and in_turn:
            made.direct = made.places
        return made

    def _planned(self, host, begin, options, timestep):
        place = (begin,) if self._looks_back else ()
        return type(self)._planner(host, *place, *options)

    def _keys(self, timesteps):
        """The timestep of each row."""
        return timesteps

    def __getstate__(self):
        return dict(vars(self))  # another thread may begin to step while this one copies

    def __copy__(self):
        made = self.__class__.__new__(self.__class__)
        vars(made).update(vars(self))
        if self._trajectory is not None:  # buffers belong to one scheduler
            seen = {id(v): v for v in vars(self).values() if v is not self._trajectory}
            made._trajectory = copy.deepcopy(self._trajectory, seen)
        return made


def _unscaled(self, sample, timestep=None):
    """The sample itself. The stock class has no such method, and pipelines that know it by its
    exact type call the method of every other scheduler."""
    return sample


def _is_stock(cls):
    return (
        issubclass(cls, SchedulerMixin) and cls is not SchedulerMixin and not issubclass(cls, Fused)
    )


def _is_floating(timestep):
    if isinstance(timestep, Tensor):
        return timestep.is_floating_point()
    return not isinstance(timestep, int)
