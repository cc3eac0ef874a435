"""Steps and whole loops of the CPU benchmarks, on a GPU."""

import importlib.util
import sys
import types
from dataclasses import replace
from functools import partial

import torch

HAS_DIFFUSERS = importlib.util.find_spec("diffusers") is not None
if not HAS_DIFFUSERS:  # imported by the modules below, used only by contestants left out here
    sys.modules["diffusers"] = types.ModuleType("diffusers")
LEFT_OUT = "" if HAS_DIFFUSERS else "diffusers and its compiled model: diffusers is not installed"

from loops import LOOPS, DiffusersLoop, EagerLoop, FastdiffLoop, ModelAlone  # noqa: E402
from peers import SEED, FastdiffStep  # noqa: E402

import fastdiff as fd  # noqa: E402

DEVICE = "cuda"
STEPS = 100
CASES = [
    replace(case, steps=STEPS, name=case.name.replace("20 steps", f"{STEPS} steps"))
    for case in LOOPS
]


class Step(FastdiffStep):
    """The step of a case on a device, the model's input and output in ``dtype``."""

    def __init__(self, case, dtype=torch.float32, device=DEVICE):
        super().__init__(case)
        self.dtype = dtype
        self.x0, self.out = self.x0.to(device), self.out.to(device, dtype)

    def restart(self):
        self.state = fd.SamplerState(
            self.table, self.x0, seeds=SEED, guidance=self.guidance, model_dtype=self.dtype
        )

    def rewind(self, steps):
        super().rewind(steps)
        if self.x0.is_cuda:
            torch.cuda.synchronize()


class OnDevice:
    """Puts a loop's model and inputs on the device, and waits for its sample."""

    def prepare(self):
        self.model, self.x0 = self.model.to(DEVICE), self.x0.to(DEVICE)
        for name in ("cond", "uncond", "stacked"):
            moved = {key: value.to(DEVICE) for key, value in getattr(self, name).items()}
            setattr(self, name, moved)
        super().prepare()

    def rewind(self, steps):
        super().rewind(steps)
        torch.cuda.synchronize()

    def advance(self):
        super().advance()
        torch.cuda.synchronize()


class Graphed(OnDevice, FastdiffLoop):
    """``fastdiff.sample`` as it comes: a state made anew, a capture found again."""

    name = "fastdiff"


class GraphedTorchNoise(Graphed):
    """With the numbers of torch.randn: comparable with the peers."""

    noise = "torch"


class Stepped(OnDevice, FastdiffLoop):
    """``SamplerState`` without a graph."""

    name = "fastdiff, eager"

    def advance(self):
        state = fd.SamplerState(self.table, self.x0, seeds=SEED, guidance=self.guidance)
        while not state.done:
            state.step(self.model(state.model_input, state.t, **self.stacked))
        self.sample = state.x
        torch.cuda.synchronize()


class Stock(OnDevice, DiffusersLoop):
    """diffusers, its timesteps on the device as its pipelines have them."""

    def prepare(self):
        super().prepare()
        set_timesteps = self.scheduler.set_timesteps
        self.scheduler.set_timesteps = partial(set_timesteps, device=DEVICE)


class StockCompiled(Stock):
    name = "diffusers, compiled model"

    def prepare(self):
        super().prepare()
        self.model = torch.compile(self.model, mode="reduce-overhead")


class Plain(OnDevice, EagerLoop):
    """Coefficients known beforehand, updates in place."""

    name = "plain loop"

    def prepare(self):
        super().prepare()
        self.times = [t.to(DEVICE) for t in self.times]


class PlainCompiled(Plain):
    name = "plain loop, compiled model"

    def prepare(self):
        super().prepare()
        self.model = torch.compile(self.model, mode="reduce-overhead")


class Model(Plain, ModelAlone):
    """The model's calls and nothing else, launched one by one."""

    name = "model alone"


PEERS = [Plain, PlainCompiled, *([Stock, StockCompiled] if HAS_DIFFUSERS else [])]
CONTESTANTS = [Graphed, Stepped, *PEERS, Model]
