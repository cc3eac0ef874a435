"""Several processes, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The rows of a batch of ``count`` that this process works on."""
        if count % self.size:
            raise ValueError(
                f"batch: expected a multiple of the {self.size} processes, got {count}"
            )
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all processes."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value


@contextmanager
def world(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """Join the processes that torchrun started, if any; they leave together at the end.

    Args:
        device: where to train; with several processes "cuda" is each one's own.
    """
    chosen = torch.device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(), chosen
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size()), chosen
    finally:
        dist.destroy_process_group()
