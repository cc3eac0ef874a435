"""Loops, step by step, that stop at an error."""

import warnings

import torch

import fastdiff.integrations.diffusers as fused
from tests.support.loops import model_for, takes
from tests.support.step_calls import CALLS, plainly
from tests.support.twins import distance, values_of


def counter_of(scheduler):
    """The attribute in which a scheduler counts its steps, or None."""
    return fused.SCHEDULERS[type(scheduler).__name__].spec.counter


def middle_of(scheduler):
    return min(3, len(scheduler.timesteps) - 1)


class Loop:
    """Steps of a scheduler, one by one, until there is an error.

    Attributes:
        x: the sample.
        results: of the steps.
        error: the type of the error, or None.
    """

    def __init__(self, scheduler, x):
        self.scheduler, self.x, self.results, self.error = scheduler, x, [], None
        self.model, self.generator = model_for(scheduler), torch.Generator().manual_seed(3)
        self.handed = []  # the results of which the caller keeps something

    def step(self, t, after=None):
        """A step from timestep t; ``after``: the one to which it goes, if it is to be told."""
        scheduler, name = self.scheduler, type(self.scheduler).__name__
        if self.error is not None:
            return
        options = {"generator": self.generator} if takes(scheduler, "generator") else {}
        if name == "UnCLIPScheduler":
            options["prev_timestep"] = after
        scale = getattr(scheduler, "scale_model_input", lambda sample, t: sample)
        every = scheduler.timesteps
        told = t
        if name == "DDPMWuerstchenScheduler" and isinstance(t, torch.Tensor):
            told = t.expand(len(self.x))
        try:
            out = self.model(scale(self.x, t), float(t))
            call = CALLS.get(name, plainly)
            result = call(scheduler, out, told, self.x, self.handed, every, options)
        except Exception as error:
            self.error = type(error)
            return
        self.x = result["prev_sample"] if hasattr(result, "prev_sample") else result[0]
        self.results.append(result)
        self.handed.append(result)

    def steps(self, first=0, last=None):
        every = self.scheduler.timesteps
        last = len(every) if last is None else last
        for k in range(first, last):
            self.step(every[k], every[k + 1] if k + 1 < len(every) else None)


def outcome(scheduler, x, change):
    """The loop, the warnings about stock steps, and other ones of fused schedulers."""
    torch.manual_seed(0)  # for schedulers that draw without a generator
    loop = Loop(scheduler, x)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        change(loop)
    said = [str(w.message) for w in seen if w.category is fused.StockStepWarning]
    name = type(scheduler).__name__
    others = [str(w.message) for w in seen if str(w.message).startswith(f"{name}: ")]
    return loop, said, [text for text in others if text not in said]


def gap(results, others):
    """The greatest distance of two lists of results, by the size of the state; infinite where one
    is finite and the other is not."""
    largest = 0.0
    for one, other in zip(results, others, strict=True):
        for a, b in zip(*map(values_of, (one, other)), strict=True):
            assert a.shape == b.shape
            finite = torch.isfinite(a) & torch.isfinite(b)
            if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
                return float("inf")
            if finite.any():
                size = max(1.0, float(b[finite].double().square().mean().sqrt()))
                largest = max(largest, distance(a[finite], b[finite]) / size)
    return largest


class stock_steps:
    """Counts the stock steps that a fused scheduler has done."""

    def __init__(self, scheduler):
        self.scheduler, self.done = scheduler, []

    def __enter__(self):
        step = self.scheduler._stock_step

        def counted(*args, **kwargs):
            result = step(*args, **kwargs)
            self.done.append(args[0])
            return result

        self.scheduler._stock_step = counted
        return self.done

    def __exit__(self, *_):
        del self.scheduler._stock_step
