"""What models are measured against: held-out images, a judge of samples, and baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fastdiff import noise
from fastdiff.elbo import bits_per_dim
from fastdiff.likelihood import dequantise
from fastdiff.models.family import log_histograms

from .images import Images
from .judge import Judge, frechet_distance, judge

SAMPLES = 1000
MOST = 500  # test images that are looked at


@dataclass(frozen=True)
class Exam:
    """The data, and what is computed of them once."""

    train: Images
    test: Images
    device: torch.device | str = "cpu"

    @cached_property
    def x(self) -> Tensor:
        return self.test.values(slice(MOST)).to(self.device)

    @cached_property
    def keys(self) -> Tensor:
        return noise.keys(2, len(self.x), device=self.device)

    @cached_property
    def judge(self) -> Judge:
        return judge(self.train, self.test, self.device, features=32)

    @cached_property
    def features(self) -> Tensor:
        return self.judge.features(self.train.images)

    def distance(self, images: Tensor) -> float:
        """FD of images to the training images."""
        return frechet_distance(self.judge.features(images), self.features)

    @property
    def width(self) -> float:
        """Of a grey level in the units of x."""
        return 2 / (self.train.depth - 1)

    def dequantised(self, data: Images, seed: int) -> Tensor:
        return dequantise(data.images, data.depth, noise.keys(seed, len(data)))

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the training images, float64."""
        flat = self.train.images.flatten(1).double()
        return flat.mean(0), torch.cov(flat.T)


def baselines(exam: Exam) -> dict[str, float]:
    """What models have to beat: uniform, independent pixels, and a Gaussian of the dequantised
    images, in bits per dimension; and the FD of test images and of noise."""
    space = exam.train.space
    log_p = log_histograms(exam.train.images, space)
    levels = space.levels(exam.test.images)
    factorised = -log_p.expand(len(levels), *log_p.shape).gather(-1, levels[..., None]).mean()
    result = {
        "uniform bpd": math.log2(space.depth),
        "factorised bpd": float(factorised) / math.log(2),
    }
    if len(exam.train) > space.dims:
        train, test = (exam.dequantised(d, s).flatten(1).double() for d, s in
                       ((exam.train, 1), (exam.test, 2)))  # fmt: skip
        normal = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
        nats = -normal.log_prob(test).mean()
        result["gaussian bpd"] = float(bits_per_dim(nats, space.dims, exam.width))
    result["judge accuracy"] = exam.judge.test_accuracy
    result["FD test"] = exam.distance(exam.test.images)
    rng = torch.Generator().manual_seed(0)
    result["FD noise"] = exam.distance(torch.randn((SAMPLES, *space.shape), generator=rng))
    return result
