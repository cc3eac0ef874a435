"""Small runs on random images."""

import torch

from fastdiff.models import find
from fastdiff.training import Images, TrainConfig


def data(count=40, depth=17, size=8):
    rng = torch.Generator().manual_seed(1)
    levels = torch.randint(0, depth, (count, 1, size, size), generator=rng).to(torch.uint8)
    return Images(levels, torch.arange(count) % 10, depth)


def config(family="ddpm", **settings):
    model = {"hidden": 16} | settings.pop("model", {})
    run = {"steps": 6, "batch": 4, "warmup": 2} | settings
    return TrainConfig(family=family, model=find(family).Config(**model), **run)


def same(a, b):
    """Whether two modules have the same bits."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())
