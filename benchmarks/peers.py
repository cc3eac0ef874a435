"""Who is measured: fastdiff and its peers, doing one step of the same case on the same inputs.

A contestant has
    rewind(steps)   makes sure that so many steps can follow; not timed
    advance()       runs them; timed
    input           [2B, ...] the model input of the step to come
    draws(count)    the noise that its first steps add
"""

import diffusers
import torch
from cases import SCALE, STEPS, Case, Work
from handwritten import MATHS, Maths, add, add_in_place

import fastdiff as fd

SEED = 7


class Contestant:
    """The inputs of a case, and a place in the list of steps."""

    name = ""

    def __init__(self, case: Case, dtype: torch.dtype = torch.float32):
        self.case = case
        generator = torch.Generator().manual_seed(0)
        batch, *sample = case.shape
        self.x0 = torch.randn(case.shape, generator=generator).to(dtype)
        self.out = torch.randn((2 * batch, *sample), generator=generator).to(dtype)
        self.place = self.end = STEPS

    @classmethod
    def takes(cls, case: Case) -> bool:
        return True

    def rewind(self, steps: int) -> None:
        if self.end + steps >= STEPS:  # the last step writes no model input: never timed
            self.restart()
            self.end = 0
        self.place, self.end = self.end, self.end + steps

    def draws(self, count: int) -> list[torch.Tensor]:
        torch.manual_seed(SEED)
        return [torch.randn(self.case.shape) for _ in range(count)]


class FastdiffStep(Contestant):
    """``SamplerState.step``: what ``fastdiff.sample`` calls."""

    name = "fastdiff"

    def __init__(self, case):
        super().__init__(case)
        self.table, self.guidance = case.work.table(), fd.guidance.CFG(SCALE)

    def restart(self):
        self.state = fd.SamplerState(self.table, self.x0, seeds=SEED, guidance=self.guidance)

    def advance(self):
        step, out = self.state.step, self.out
        for _ in range(self.place, self.end):
            step(out)

    @property
    def input(self):
        return self.state.model_input

    def draws(self, count):
        keys = fd.noise.keys(SEED, len(self.x0))
        return [fd.noise.draw(keys, self.x0.shape[1:], n + 1) for n in range(count)]


class FastdiffOp(FastdiffStep):
    """``fd.ops.step_``, the functional op: checks and a dispatcher call in every step."""

    name = "fd.ops.step_"

    def restart(self):
        batch, table = len(self.x0), self.table
        weights = torch.from_numpy(self.guidance.weights(table.sigma, batch)).float()
        self.input_ = torch.zeros_like(self.out)
        self.row = torch.zeros(batch, dtype=torch.int64)
        self.arguments = (self.x0.clone(), self.row, torch.from_numpy(table.pack()))
        self.buffers = {
            "keys": fd.noise.keys(SEED, batch),
            "weights": weights.expand(len(table.rows), batch, 2).contiguous(),
            "saved": torch.zeros_like(self.x0) if table.uses_saved else None,
            "history": torch.zeros((table.history, *self.x0.shape)) if table.history else None,
            "model_input": self.input_,
            "t": torch.zeros(2 * batch),
        }
        fd.ops.step_(*self.arguments, **self.buffers)  # the entry row

    def advance(self):
        arguments, buffers, outputs = self.arguments, self.buffers, (self.out,)
        for _ in range(self.place, self.end):
            fd.ops.step_(*arguments, outputs, **buffers)

    @property
    def input(self):
        return self.input_


class Diffusers(Contestant):
    """The stock scheduler in the lines that pipelines have around it."""

    name = "diffusers"

    def restart(self):
        self.scheduler = scheduler(self.case.work, STEPS)
        self.timesteps = list(self.scheduler.timesteps)
        self.x = self.x0
        torch.manual_seed(SEED)

    def advance(self):
        scheduler, x, out = self.scheduler, self.x, self.out
        for t in self.timesteps[self.place : self.end]:
            uncond, cond = out.chunk(2)
            mixed = uncond + SCALE * (cond - uncond)
            x = scheduler.step(mixed, t, x, return_dict=False)[0]
            self.input = scheduler.scale_model_input(torch.cat([x] * 2), t)
        self.x = x


class Eager(Contestant):
    """The hand-written loop in eager mode: coefficients Python floats, updates in place; the state
    is the first half of the model input, so that only one more copy is made of it."""

    name = "eager"

    def __init__(self, case, dtype=torch.float32):
        super().__init__(case, dtype)
        self.maths = MATHS[case.work.by_hand]
        self.coefficients = self.lower()

    def lower(self):
        return self.maths.lower(self.case.work, STEPS)

    def restart(self):
        self.input = torch.cat([self.x0] * 2)
        self.kept = self.maths.memory(self.x0)
        torch.manual_seed(SEED)

    def step(self, k):
        x, copy = self.input.chunk(2)
        mixed = torch.lerp(*self.out.chunk(2), SCALE)
        _, self.kept = self.maths.step(add_in_place, k, x, mixed, self.kept)
        copy.copy_(x)

    def advance(self):
        step = self.step
        for k in self.coefficients[self.place : self.end]:
            step(k)


class Compiled(Eager):
    """torch.compile of the hand-written step, torch.randn inside; compilation is not timed."""

    name = "compiled"

    def lower(self):
        self.compiled = compiled(self.maths)
        return torch.tensor(super().lower()).unbind()

    def step(self, k):
        self.input, self.kept = self.compiled(k, self.input, self.out, self.kept)

    def draws(self, count):
        """Inductor has its own generator: a step that only adds noise shows what it draws."""
        if not self.maths.draws:
            return super().draws(count)
        self.restart()
        only_noise = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
        drawn = []
        for _ in range(count):
            self.step(only_noise)
            drawn.append(self.input.chunk(2)[0])
        return drawn


class CompiledRandnOutside(Compiled):
    """The same with torch.randn in eager mode before it: Inductor's own noise is slow on CPUs."""

    name = "compiled, randn outside"

    @classmethod
    def takes(cls, case):
        return MATHS[case.work.by_hand].draws

    def step(self, k):
        self.input, _ = self.compiled(k, self.input, self.out, torch.randn(self.case.shape))

    def draws(self, count):
        return Eager.draws(self, count)


CONTESTANTS = (FastdiffStep, FastdiffOp, Diffusers, Eager, Compiled, CompiledRandnOutside)


def scheduler(work: Work, steps: int):
    """The stock scheduler, set to the timesteps that fastdiff takes."""
    made = getattr(diffusers, work.scheduler)(timestep_spacing="trailing", **work.options)
    made.set_timesteps(steps)
    return made


def compiled(maths: Maths):
    """The step as a pure function, which was the fastest of several ways to write it: stores into
    given buffers, or a state beside the model input, cost Inductor another pass."""
    torch.compiler.reset()  # else old shapes count against the limit of recompilations

    def step(k, input, out, kept):
        x = input.chunk(2)[0].clone()  # the maths works in place; compiled away
        x, kept = maths.step(add, k, x, torch.lerp(*out.chunk(2), SCALE), kept)
        return torch.cat([x, x]), kept

    return torch.compile(step, dynamic=False, fullgraph=True)  # fullgraph: never eager in silence
