"""What multistep schedulers remember.

Fused steps keep it in buffers, stock ones in attributes. An attribute that is read or set in the
middle of a loop has what the stock scheduler would have there, and stock steps follow.
"""

import torch
from torch.compiler import is_compiling

from ..adapters.lowering import Unsupported
from .base import Fused


def _attribute(name: str, live: bool) -> property:
    """An attribute of the stock scheduler's memory; ``live``: fused steps keep it, too."""

    def read(self):
        if not live and not is_compiling():  # a traced step has seen that there is nothing
            self._hand_over(Unsupported(f"a loop that looks at {name}"))
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}") from None

    def put(self, value):
        if not is_compiling():
            self._hand_over(Unsupported(f"a loop that sets {name}"))
        self.__dict__[name] = value

    return property(read, put)


def items(buffers, rows, count: int) -> list:
    """The last ``count`` things that the rows have remembered, as far as there are any, the latest
    at the end."""
    slots = [int(row.slot) for row in rows if row.slot >= 0]
    return [buffers.remembered(slot) for slot in slots[max(0, len(slots) - count) :]]


def padded(values: list, length: int) -> list:
    return [None] * (length - len(values)) + values


class Remembers(Fused):
    """Base class.

    Attributes:
        stored: the attributes of the stock scheduler; its next step looks at none of them if all
            are None, 0 or empty.
        live: more of them, which fused steps keep, too.
    """

    multistep = True
    stored: tuple[str, ...] = ()
    live: tuple[str, ...] = ()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for names, live in (
            (vars(cls).get("stored", ()), False),
            (vars(cls).get("live", ()), True),
        ):
            for name in names:
                setattr(cls, name, _attribute(name, live))

    def _is_fresh(self):
        return not any(self.__dict__.get(name) for name in self.stored)


class Multistep(Remembers):
    """Schedulers that remember converted outputs of the model, the last at the end."""

    stored: tuple[str, ...] = ("lower_order_nums", "model_outputs")
    dropped = 1  # the oldest of the outputs is not used again

    def _is_fresh(self):
        return not self.__dict__.get("lower_order_nums")

    def _memory(self, buffers, rows, begin):
        order = self.config.solver_order
        outputs = items(buffers, rows, order - self.dropped)
        return {
            "model_outputs": padded(outputs, order),
            "lower_order_nums": min(len(rows), order),
        }


class Corrected(Multistep):
    """They remember the sample from which the last step was taken, too."""

    stored: tuple[str, ...] = (*Multistep.stored, "last_sample")
    dropped = 0

    def _is_fresh(self):
        return super()._is_fresh() and self.__dict__.get("last_sample") is None

    def _memory(self, buffers, rows, begin):
        order, done = self.config.solver_order, begin + len(rows)
        left = len(self.timesteps) - done + 1 if self.config.lower_order_final else order
        past = list(self.timesteps[max(begin, done - order) : done])
        return super()._memory(buffers, rows, begin) | {
            "last_sample": buffers.remembered(),
            "this_order": min(order, left, len(rows)),
            "timestep_list": padded(past, order),
        }


class Adams(Remembers):
    """The SA-Solver remembers the noise that the last step has added, too."""

    stored = "lower_order_nums", "model_outputs", "last_sample", "last_noise"

    def _is_fresh(self):
        return not self.__dict__.get("lower_order_nums") and self.__dict__["last_sample"] is None

    def _memory(self, buffers, rows, begin):
        config, done = self.config, begin + len(rows)
        most = max(config.predictor_order, config.corrector_order - 1)
        left = len(self.timesteps) - done + 1 if config.lower_order_final else most
        past = list(self.timesteps[max(begin, done - most) : done])
        last_sample, last_noise = self._last(buffers, rows[-1])
        return {
            "model_outputs": padded(items(buffers, rows, most), most),
            "timestep_list": padded(past, most),
            "lower_order_nums": min(len(rows), most),
            "this_predictor_order": min(config.predictor_order, left, len(rows)),
            "this_corrector_order": min(config.corrector_order, left + 1, len(rows) + 1),
            "last_sample": last_sample,
            "last_noise": last_noise,
        }

    def _last(self, buffers, row):
        """The sample and the noise of the last step, of which the anchor is a x + b z."""
        anchor_of = row.s
        a = anchor_of["s"] or anchor_of["x"]
        if a == 0 and self._step_index:
            raise RuntimeError(
                "SASolverScheduler.step: expected to begin anew after clean data, with "
                f"set_timesteps, got step {self._step_index}, which corrects a step to them"
            )
        anchor = buffers.anchor()
        # noise that a kernel has drawn could be separated from the sample only by drawing it once
        # more; for a corrector of the same step the two are as good as their sum
        z = anchor.new_zeros(()) if buffers.z is None else buffers.outside(buffers.z)
        sample = (anchor - anchor_of["z"] * z) / (a or torch.nan)
        return sample.to(buffers.result_dtype), z.to(buffers.drawn_dtype, copy=True)


class Stages(Remembers):
    """Singlestep schedulers remember outputs, and the sample where all stages of a step start."""

    stored = "model_outputs", "sample"

    def _is_fresh(self):
        return all(output is None for output in self.__dict__["model_outputs"])

    def _memory(self, buffers, rows, begin):
        order = self.config.solver_order
        outputs = items(buffers, rows, order - 1)
        return {"model_outputs": padded(outputs, order), "sample": buffers.remembered()}


class Slopes(Remembers):
    """Linear multistep schedulers remember slopes, the last at the end."""

    def _memory(self, buffers, rows, begin):
        return {self.stored[0]: items(buffers, rows, buffers.rows.slots)}


class TwoStage(Remembers):
    """Schedulers with two evaluations in a step, of which the second needs the slope at the
    first."""

    # A last step has no second stage: its slope is found again from the sample that it made.
    keeps_result = True
    stored, live = ("prev_derivative",), ("dt", "sample")

    def _is_fresh(self):
        return self.__dict__.get("dt") is None

    def _count(self, row, sample):
        index, first = self._step_index, row % 2 == 0
        dt = self.sigmas[index + 1] - self.sigmas[index] if first else None
        self.__dict__.update(dt=dt, sample=sample if first else None, _step_index=index + 1)

    def _memory(self, buffers, rows, begin):
        if len(rows) % 2 == 0:
            return {}
        sample, dt = self.__dict__["sample"], float(self.__dict__["dt"])
        if rows[-1].s["x"]:  # the anchor is half a step away along the slope
            slope = (buffers.anchor() - sample) * (2 / dt)
        else:  # there is no second evaluation
            slope = (buffers.outside(buffers.x) - sample) / dt
        return {"prev_derivative": slope.to(buffers.second_dtype)}


class Midpoint(Remembers):
    """They keep the sample between the two, from which the second starts anew."""

    live = ("sample",)

    def _is_fresh(self):
        return self.__dict__.get("sample") is None

    def _count(self, row, sample):
        self.__dict__["sample"] = sample if row % 2 == 0 else None
        self._step_index += 1

    def _memory(self, buffers, rows, begin):
        return {}  # the sample is kept in either case


class Plms(Remembers):
    """PLMS remembers outputs of the model, the last at the end; after the first step the sample
    from which it was taken, too."""

    stored = ("ets", "cur_sample")

    def _is_fresh(self):
        return not self.__dict__["ets"]

    def _memory(self, buffers, rows, begin):
        cur_sample = buffers.remembered() if len(rows) == 1 else None
        return {"ets": items(buffers, rows, buffers.rows.slots), "cur_sample": cur_sample}
