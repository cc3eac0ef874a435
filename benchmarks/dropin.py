"""What the drop-in schedulers cost beside those of diffusers, called as pipelines call them.

    python benchmarks/dropin.py [--quick] [--threads N] [--only TEXT] [--json FILE]

Both sides first have to make the same samples. Then they run in interleaved rounds, a whole
trajectory each: a ratio is the median over rounds of diffusers / fastdiff. The time is that of one
``step``, result object and noise from the caller's generator included, the first of the trajectory
too; that of ``set_timesteps`` is not. Of the forward process it is that of one call, a timestep for
each sample. Nothing fails if a bar is missed.
"""

import argparse
import inspect
import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from cases import Bar
from report import WIDTH, judge, machine, show, summarise
from rich.console import Console
from timing import interleave

import fastdiff.integrations.diffusers as fused

STEPS = 50  # of a trajectory; of the smallest samples more, for the clock
ROUNDS, QUICK_ROUNDS = 30, 3
TOLERANCE = 1e-4  # of the largest element, at the end of a trajectory of STEPS
CALLS = 20  # of the forward process in one block

TINY, SMALL = (1, 16, 7), (1, 4, 64, 64)
SHAPES = [TINY, SMALL, (1, 16, 128, 128), (16, 4, 64, 64), (8, 3, 64, 64)]
MANY = {TINY: 200}
LEAST = {TINY: 10.0, SMALL: 5.0}  # how much faster the first four have to be
BATCHES = [1, 16, 256]


@dataclass(frozen=True)
class Work:
    """A scheduler under the name that both sides have for it."""

    name: str
    scheduler: str
    options: dict = field(default_factory=dict, hash=False)
    least: dict = field(default_factory=dict, hash=False)  # shape -> ratio

    def sides(self) -> dict:
        twin = fused.SCHEDULERS[self.scheduler]
        return {"fastdiff": twin, "diffusers": twin.stock}


WORKS = [
    Work("DDPM", "DDPMScheduler", least=LEAST),
    Work("DDIM", "DDIMScheduler", least=LEAST),
    Work("DPM++2M", "DPMSolverMultistepScheduler", least=LEAST),
    Work("UniPC", "UniPCMultistepScheduler", least=LEAST),
    Work("DPM++2M SDE", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    Work("Euler", "EulerDiscreteScheduler"),
    Work("Euler ancestral", "EulerAncestralDiscreteScheduler"),
    Work("Heun", "HeunDiscreteScheduler"),
    Work("LMS", "LMSDiscreteScheduler"),
    Work("PNDM", "PNDMScheduler", {"skip_prk_steps": True}),
    Work("LCM", "LCMScheduler", {"original_inference_steps": 200}),
    Work("TCD", "TCDScheduler", {"original_inference_steps": 200}),
    Work("EDM Euler", "EDMEulerScheduler"),
    Work("EDM DPM++2M", "EDMDPMSolverMultistepScheduler"),
    Work("Flow Euler", "FlowMatchEulerDiscreteScheduler"),
    Work("Flow Heun", "FlowMatchHeunDiscreteScheduler"),
]
NOISINGS = [
    (Work("DDPM", "DDPMScheduler"), "add_noise"),
    (Work("DDPM", "DDPMScheduler"), "get_velocity"),
    (Work("DPM++2M", "DPMSolverMultistepScheduler"), "add_noise"),
    (Work("Euler", "EulerDiscreteScheduler"), "add_noise"),
    (Work("Flow Euler", "FlowMatchEulerDiscreteScheduler"), "scale_noise"),
]


def normals(shape, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Steps:
    """A trajectory of one side: ``advance()`` is all of its steps."""

    def __init__(self, cls, options: dict, shape):
        self.scheduler = cls(**options)
        self.start, self.output = normals(shape, 0), normals(shape, 1)
        self.generator = torch.Generator()
        takes = inspect.signature(cls.step).parameters
        self.options = {"generator": self.generator} if "generator" in takes else {}
        self.rewind()

    def rewind(self, block: int = 0) -> None:
        scheduler = self.scheduler
        scheduler.set_timesteps(MANY.get(tuple(self.start.shape), STEPS))
        self.timesteps = list(scheduler.timesteps)
        self.x = self.start * float(getattr(scheduler, "init_noise_sigma", 1.0))
        if hasattr(scheduler, "scale_model_input"):  # as they want it, once
            scheduler.scale_model_input(self.x, self.timesteps[0])
        self.generator.manual_seed(2)

    def advance(self) -> None:
        x, output, step, options = self.x, self.output, self.scheduler.step, self.options
        for t in self.timesteps:
            x = step(output, t, x, **options).prev_sample
        self.x = x

    @property
    def result(self):
        return self.x

    @property
    def block(self):
        return len(self.timesteps)


class Noising:
    """The forward process of one side: ``advance()`` is a block of calls."""

    block = CALLS

    def __init__(self, cls, options: dict, method: str, shape):
        scheduler = cls(**options)
        scheduler.set_timesteps(STEPS)
        at = torch.arange(shape[0]) * 7 % STEPS
        sample, noise, timesteps = normals(shape, 0), normals(shape, 1), scheduler.timesteps[at]
        order = (sample, timesteps, noise) if method == "scale_noise" else (
            sample, noise, timesteps,
        )  # fmt: skip
        self.call = partial(getattr(scheduler, method), *order)

    def rewind(self, block: int = 0) -> None:
        pass

    def advance(self) -> None:
        for _ in range(CALLS):
            self.call()

    @property
    def result(self):
        return self.call()


def measure(name: str, runners: dict, rounds: int, unit: str, least: float) -> dict:
    """The record of one case; both sides are checked first."""
    results = {}
    for side, runner in runners.items():
        runner.rewind()
        runner.advance()
        results[side] = runner.result
    ours, stock = results.values()
    error = float((ours - stock).abs().max() / stock.abs().max())
    # What both sides round adds up like independent errors: with the root of the number of steps.
    allowed = TOLERANCE * max(1.0, runners["fastdiff"].block / STEPS) ** 0.5
    assert error < allowed, f"{name}: relative error {error:.1e}, expected less than {allowed:.1e}"
    record = summarise(name, interleave(runners, runners["fastdiff"].block, rounds))
    record["unit"] = f"us per {unit}"
    record["bars"] = [judge(Bar(least, "diffusers"), record["contestants"])]
    record["contestants"]["fastdiff"]["relative error"] = error
    return record


def by(shape) -> str:
    return "x".join(map(str, shape))


def cases():
    """(name, a function that makes both sides, unit, least ratio)"""
    for work in WORKS:
        for shape in SHAPES:
            runners = partial(both, work, Steps, shape)
            yield f"{work.name}, {by(shape)}", runners, "step", work.least.get(shape, 1.0)
    for work, method in NOISINGS:
        for batch in BATCHES:
            shape = (batch, 3, 32, 32)
            runners = partial(both, work, Noising, method, shape)
            yield f"{method} of {work.name}, {by(shape)}", runners, "call", 1.0


def both(work: Work, kind, *arguments) -> dict:
    return {side: kind(cls, work.options, *arguments) for side, cls in work.sides().items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    torch.set_num_threads(args.threads)
    console = Console(width=None if os.isatty(1) else WIDTH)
    where, records = machine(), []
    with torch.no_grad(), console.status("measuring") as status:
        for name, make, unit, least in cases():
            if args.only in name:
                status.update(name)
                records.append(measure(name, make(), rounds, unit, least))
    show(records, where, console, "step or call")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": where, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
