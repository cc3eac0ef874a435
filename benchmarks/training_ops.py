"""What the fused training operations cost, forward and backward, beside eager PyTorch.

    python benchmarks/training_ops.py [--rounds N] [--threads N] [--only TEXT] [--json FILE]

All sides first have to agree with eager PyTorch in float64, results and gradients. Then they run
in interleaved rounds; a ratio is the median over rounds of a peer / fastdiff. One call is the
forward pass and the backward pass from given gradients of its results, noise included: fastdiff
draws from keys, eager PyTorch by torch.randn. Where PyTorch has a function of its own for a part of
the work, a peer made of it runs beside the plain one. Nothing fails if a bar is missed.
"""

import argparse
import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import eager_training as eager
import torch
from cases import Bar
from report import WIDTH, judge, machine, show, summarise
from rich.console import Console
from timing import interleave

from fastdiff import losses, noise, ops

SHAPES = [(8, 1, 28, 28), (64, 784), (256, 64), (64, 3, 64, 64)]
LARGE = SHAPES[-1]
LEVELS, CLASSES = 256, 17
ROUNDS, BLOCK_US = 60, 2000  # a timed block takes at least so long
TOLERANCE = 1e-5  # of the largest element


@dataclass(frozen=True)
class Work:
    """An operation on both sides.

    Attributes:
        fused, by_hand: of the same arguments, but for keys and normals.
        arguments: a kind for each, see ``make``; a capital letter has a gradient.
        most: how much faster it has to be on the largest shape.
        others: further peers by name, of by_hand's arguments.
    """

    name: str
    fused: object
    by_hand: object
    arguments: str
    most: float = 1.0
    others: dict = field(default_factory=dict)


def both(name, **options):
    return (partial(getattr(module, name), **options) for module in (ops, eager))


def denoising(weight, x, output, t, keys):
    """``losses.denoising_loss`` of a network that is there already."""
    return losses.denoising_loss(
        lambda x, t: output, x, t, keys, schedule=eager.SCHEDULE, weight=weight
    )


MSE = {"F.mse_loss": eager.mse_loss}
CROSS_ENTROPY = {"F.cross_entropy": eager.cross_entropy}

WORKS = [
    Work("denoising loss", partial(denoising, None), eager.denoising_loss, "xXtz"),
    Work("denoising loss, min-SNR", partial(denoising, losses.weights.MinSNR()),
         partial(eager.denoising_loss, min_snr=5.0), "xXtz"),
    Work("noising and target", *both("mix_noise"), "xmz", 4.0),
    Work("noising and target, gradient", *both("mix_noise"), "Xmz", 4.0),
    Work("weighted loss", *both("squared_error"), "Xxb", 2.0, MSE),
    Work("sample and KL to N(0, I)", *both("gaussian_sample_kl"), "XXz", 2.0),
    Work("KL of Gaussians", *both("gaussian_kl"), "XXXX"),
    Work("Gaussian", *both("gaussian_log_prob"), "xXX"),
    Work("Bernoulli", *both("bernoulli"), "uX"),
    Work("categorical", *both("categorical"), "kG", others=CROSS_ENTROPY),
    Work("discretised Gaussian", *both("discretised_gaussian", depth=LEVELS), "lXX"),
    Work("discretised logistic", *both("discretised_logistic", depth=LEVELS), "lXX"),
]  # fmt: skip


def make(kind: str, shape, rng) -> torch.Tensor:
    """x, b, m: normals [B, ...], [B], [B, 4]; t, u in [0, 1], [B] and [B, ...]; l on levels; k, G:
    classes, logits."""
    if kind == "k":
        return torch.randint(CLASSES, shape, generator=rng)
    if kind == "l":
        return torch.randint(LEVELS, shape, generator=rng) * (2 / (LEVELS - 1)) - 1
    if kind == "u":
        return torch.rand(shape, generator=rng)
    if kind == "t":
        return 0.05 + 0.9 * torch.rand(shape[:1], generator=rng)
    sizes = {"b": shape[:1], "m": (shape[0], 4), "G": (*shape, CLASSES)}
    return torch.randn(sizes.get(kind, shape), generator=rng).requires_grad_(kind in "XG")


class Contestant:
    """One side of a case: ``advance()`` is a block of calls."""

    def __init__(self, work: Work, shape, draw):
        rng = torch.Generator().manual_seed(0)
        kinds = work.arguments.removesuffix("z")
        self.arguments = [make(kind, shape, rng) for kind in kinds]
        self.inputs = [v for v in self.arguments if v.requires_grad]
        self.draws = [draw] if kinds != work.arguments else []

    def run(self):
        results = self.function(*self.arguments, *(draw() for draw in self.draws))
        results = results if isinstance(results, tuple) else (results,)
        if not self.inputs:
            return results
        if not hasattr(self, "cotangents"):
            rng = torch.Generator().manual_seed(1)
            self.cotangents = [torch.randn(r.shape, generator=rng).to(r) for r in results]
        return *results, *torch.autograd.grad(results, self.inputs, self.cotangents)

    def rewind(self, block: int) -> None:
        self.block = block

    def advance(self) -> None:
        for _ in range(self.block):
            self.run()


class Fused(Contestant):
    def __init__(self, work, shape):
        keys = noise.keys(0, shape[0])
        super().__init__(work, shape, lambda: keys)
        self.function = work.fused


class Eager(Contestant):
    def __init__(self, work, shape, function=None):
        super().__init__(work, shape, lambda: torch.randn(shape))
        self.function = function or work.by_hand


def contestants(work: Work, shape) -> dict[str, Contestant]:
    peers = {"eager": work.by_hand, **work.others}
    return {"fastdiff": Fused(work, shape)} | {
        name: Eager(work, shape, function) for name, function in peers.items()
    }


def check(work: Work, shape) -> dict[str, float]:
    """The largest relative error of each side against eager float64, given the same noise."""
    z = noise.normal(noise.keys(0, shape[0]), shape[1:])
    errors = {}
    exact = Eager(work, shape)
    exact.arguments = [
        v.detach().double().requires_grad_(v.requires_grad) if v.is_floating_point() else v
        for v in exact.arguments
    ]
    exact.inputs = [v for v in exact.arguments if v.requires_grad]
    exact.draws = [lambda: z.double() for _ in exact.draws]
    expected = exact.run()
    for name, side in contestants(work, shape).items():
        if name != "fastdiff":
            side.draws = [lambda: z for _ in side.draws]
        errors[name] = max(
            float((a - b).detach().abs().max() / b.detach().abs().max())
            for a, b in zip(side.run(), expected, strict=True)
        )
    assert errors["fastdiff"] < TOLERANCE, (work.name, shape, errors)
    return errors


def measure(work: Work, shape, rounds: int) -> dict:
    errors = check(work, shape)
    runners = contestants(work, shape)
    once = interleave(runners, 1, 3)["fastdiff"].min()
    spent = interleave(runners, max(1, int(BLOCK_US / once)), rounds)
    record = summarise(f"{work.name}, {'x'.join(map(str, shape))}", spent)
    record["unit"] = "us per call"
    bars = [Bar(work.most if shape == LARGE else 1.0, "eager")]
    bars += [Bar(1.0, name) for name in work.others]
    record["bars"] = [judge(bar, record["contestants"]) for bar in bars]
    for name, error in errors.items():
        record["contestants"][name]["relative error"] = error
    return record


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=None if os.isatty(1) else WIDTH)
    where = machine()
    chosen = [w for w in WORKS if args.only in w.name]
    with console.status("measuring"):
        records = [measure(work, shape, args.rounds) for work in chosen for shape in SHAPES]
    show(records, where, console, "call")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": where, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
