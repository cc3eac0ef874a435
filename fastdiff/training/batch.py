"""A batch as a pure function of the data, the run's settings and its seed."""

from __future__ import annotations

import torch

from fastdiff import noise
from fastdiff.arguments import instance
from fastdiff.arguments import whole as whole_number
from fastdiff.losses import low_discrepancy
from fastdiff.models import Batch

from .config import TrainConfig
from .data import random_shift
from .images import Images


def batch_seed(config: TrainConfig, step: int) -> int:
    """The seed of all that step ``step`` draws: rows, shifts, times, noise, dropout."""
    instance("config", config, TrainConfig, "a TrainConfig")
    return int(noise.fold_in(noise.key(config.seed), whole_number("step", step))[0]) % 2**63


def make_batch(data: Images, config: TrainConfig, seed: int, step: int = 0) -> Batch:
    """The batch of a seed, on the CPU; the same on every device and for any number of processes.

    Args:
        data: training images.
        config: the run.
        seed: of ``batch_seed``.
        step: see ``Batch``.
    """
    instance("data", data, Images, "Images")
    instance("config", config, TrainConfig, "a TrainConfig")
    seed = whole_number("seed", seed, least=0)
    rng, count = torch.Generator().manual_seed(seed), config.batch
    rows = torch.randint(0, len(data), (count,), generator=rng)
    return Batch(
        x=random_shift(data.values(rows), config.shift, rng),
        y=data.labels[rows],
        u=low_discrepancy(count, rng),
        keys=noise.keys(seed, count),
        step=step,
    )


def whole(data: Images, config: TrainConfig) -> Batch:
    """All of the data once, at fixed times and noise: what test losses are measured on."""
    rng, count = torch.Generator().manual_seed(0), len(data)
    u = low_discrepancy(count, rng)[torch.randperm(count, generator=rng)]
    return Batch(data.images, data.labels, u, noise.keys(0, count), config.steps)


def part(batch: Batch, rows: slice, device: torch.device | str) -> Batch:
    """Some of a batch, on a device."""
    x, y, u, keys = (
        v[rows].to(device, non_blocking=True) for v in (batch.x, batch.y, batch.u, batch.keys)
    )
    return Batch(x, y, u, keys, batch.step)
