"""Whole sampling loops around small models: where the sampler's share of the time is largest.

Every loop calls the same model on the same inputs. ``ModelAlone`` calls it as often and no more:
what a loop takes beyond that is the time outside the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from cases import DDPM, DPMPP_2M, Work
from handwritten import MATHS, add_in_place, timesteps
from peers import SEED, scheduler
from torch import nn

import fastdiff as fd


class Policy(nn.Module):
    """An MLP of three layers of 256 on a plan of 16 actions of 7 joints, as robot policies have."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(16 * 7 + 1, 256),
            nn.SiLU(),
            nn.Linear(256, 256),
            nn.SiLU(),
            nn.Linear(256, 256),
            nn.SiLU(),
            nn.Linear(256, 16 * 7),
        )

    def forward(self, x, t):
        time = (t / 1000).to(x)[:, None]
        return self.body(torch.cat([x.flatten(1), time], dim=1)).view_as(x)


class DigitUNet(nn.Module):
    """The packaged UNet, its time in [0, 1] made of the timesteps 0..999."""

    def __init__(self):
        super().__init__()
        self.unet = fd.models.digits()

    def forward(self, x, t, y):
        return self.unet(x, (t + 1) / 1000, y)


@dataclass(frozen=True)
class LoopCase:
    """``scale`` is that of guidance, over the classes 0, 1, ... in a batch; None: unconditional."""

    name: str
    work: Work
    shape: tuple[int, ...]
    steps: int
    model: Callable[[], nn.Module]
    scale: float | None = None


COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
COSINE_2M = replace(
    DPMPP_2M,
    options=DPMPP_2M.options | COSINE,
    schedule=fd.schedules.DiscreteBetas.cosine(1000),
    prediction="v",
)
LOOPS = [
    LoopCase("MLP policy, DDPM, 100 steps, 1x16x7", DDPM, (1, 16, 7), 100, Policy),
    LoopCase(
        "digit UNet, DPM++2M + CFG, 20 steps, 2x1x32x32",
        COSINE_2M,
        (2, 1, 32, 32),
        20,
        DigitUNet,
        scale=2.0,
    ),
]


class Loop:
    """A contestant whose ``advance`` runs one whole loop and leaves ``sample``.

    Raises:
        FileNotFoundError, ModuleNotFoundError: the packaged weights cannot be read here.
    """

    name = ""

    def __init__(self, case: LoopCase):
        self.case = case
        torch.manual_seed(0)
        self.model = case.model().eval()
        batch = case.shape[0]
        self.x0 = torch.randn(case.shape)
        self.cond = self.uncond = self.stacked = {}
        if case.scale is not None:
            self.cond, self.uncond = {"y": torch.arange(batch)}, {"y": torch.full((batch,), 10)}
            self.stacked = {"y": torch.cat([self.uncond["y"], self.cond["y"]])}
        self.prepare()

    @classmethod
    def takes(cls, case: LoopCase) -> bool:
        return True

    def prepare(self) -> None:
        """What is done once for many loops."""

    def rewind(self, steps: int) -> None:
        torch.manual_seed(SEED)

    def stack(self, x):
        return x if self.case.scale is None else torch.cat([x, x])

    def mix(self, out):
        return out if self.case.scale is None else torch.lerp(*out.chunk(2), self.case.scale)


class FastdiffLoop(Loop):
    """``fastdiff.sample``, state allocated anew; the table is lowered once."""

    name = "fastdiff"
    noise = "philox"

    def prepare(self):
        self.table = self.case.work.table(self.case.steps)
        scale = self.case.scale
        self.guidance = None if scale is None else fd.guidance.CFG(scale)

    def advance(self):
        self.sample = fd.sample(
            self.model,
            self.x0,
            self.table,
            seeds=SEED,
            guidance=self.guidance,
            cond=self.cond,
            uncond=self.uncond,
            noise=self.noise,
        )


class FastdiffTorchNoise(FastdiffLoop):
    """The same with torch.randn's noise: comparable with the other loops, number by number."""

    name = "fastdiff, noise of torch.randn"
    noise = "torch"


class DiffusersLoop(Loop):
    """The stock loop of pipelines; ``set_timesteps`` belongs to it, it clears the history."""

    name = "diffusers"

    def prepare(self):
        self.scheduler = scheduler(self.case.work, self.case.steps)

    def advance(self):
        self.scheduler.set_timesteps(self.case.steps)
        x = self.x0
        for t in self.scheduler.timesteps:
            inputs = self.scheduler.scale_model_input(self.stack(x), t)
            out = self.mix(self.model(inputs, t.expand(len(inputs)), **self.stacked))
            x = self.scheduler.step(out, t, x, return_dict=False)[0]
        self.sample = x


class EagerLoop(Loop):
    """The best hand-written loop: coefficients as Python floats, updates in place."""

    name = "eager"

    def prepare(self):
        self.maths = MATHS[self.case.work.by_hand]
        self.coefficients = self.maths.lower(self.case.work, self.case.steps)
        times = torch.from_numpy(timesteps(1000, self.case.steps)).float()
        self.times = times[:, None].repeat(1, len(self.stack(self.x0))).unbind()

    def advance(self):
        x = self.x0.clone()
        kept = self.maths.memory(x)
        for k, t in zip(self.coefficients, self.times, strict=True):
            out = self.mix(self.model(self.stack(x), t, **self.stacked))
            x, kept = self.maths.step(add_in_place, k, x, out, kept)
        self.sample = x


class ModelAlone(EagerLoop):
    """The model's calls and nothing else."""

    name = "model alone"

    def advance(self):
        inputs = self.stack(self.x0)
        for t in self.times:
            self.model(inputs, t, **self.stacked)


LOOP_CONTESTANTS = (FastdiffLoop, DiffusersLoop, EagerLoop, ModelAlone)


def largest_difference(case: LoopCase) -> float:
    """Between the samples of all loops given the same noise, relative to the largest element."""
    samples = []
    for contestant in (EagerLoop, FastdiffTorchNoise, DiffusersLoop):
        loop = contestant(case)
        loop.rewind(case.steps)
        loop.advance()
        samples.append(loop.sample)
    reference = samples[0]
    return float(max((s - reference).abs().max() for s in samples[1:]) / reference.abs().max())
