"""An independent judge of generated images: a CNN classifier and the Frechet distance.

The classifier shares nothing with the models it judges but the training split of the real images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastdiff import files
from fastdiff.models import Space, tensor_file

from .images import Images

BATCH = 100
FORMAT = "fastdiff-judge-1"
FORMATS = {FORMAT: True, None: False}  # None: of before there was a format


class CNN(nn.Module):
    """A plain CNN: images [N, C, H, W] in [-1, 1] -> logits [N, classes]."""

    def __init__(self, space: Space, features: int) -> None:
        super().__init__()
        self.shape = channels, height, width = space.shape
        layers: list[nn.Module] = []
        for outputs in (24, 48, 96):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            channels = outputs
            if min(height, width) >= 8:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        self.body = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(96 * height * width, features),
            nn.ReLU(),
        )
        self.head = nn.Linear(features, space.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


@dataclass(frozen=True)
class Judge:
    """A trained classifier.

    Attributes:
        network: the CNN.
        test_accuracy: on the held-out images, in [0, 1].
        device: where it runs.
    """

    network: CNN
    test_accuracy: float
    device: torch.device

    def classify(self, images: Tensor) -> Tensor:
        """Classes, [N] int64 on the CPU, of images [N, C, H, W] in [-1, 1]."""
        return self._run(self.network, images).argmax(dim=1)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, [N, F] float32 on the CPU, of images as in ``classify``."""
        return self._run(self.network.body, images)

    @torch.no_grad()
    def _run(self, network: nn.Module, images: Tensor) -> Tensor:
        shape = self.network.shape
        if images.ndim != 4 or tuple(images.shape[1:]) != shape:
            raise ValueError(f"images: expected {['N', *shape]}, got {list(images.shape)}")
        parts = images.float().split(500)
        return torch.cat([network(part.to(self.device)).cpu() for part in parts])


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random rotations (+-12 degrees), scales (+-10 %) and shifts (+-1/16), [N, C, H, W]."""
    n = len(images)
    uniform = torch.rand((4, n), generator=generator) * 2 - 1
    angle, scale = uniform[0] * np.deg2rad(12.0), 1 + 0.1 * uniform[1]
    shift = uniform[2:] / 8  # in units of half the image
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # grid_sample pads with 0, and black is -1: sample the images shifted to black = 0.
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


def fit(train: Images, device: torch.device, seed: int, epochs: int, features: int) -> CNN:
    """Train a classifier on ``train``: AdamW, one-cycle learning rate, label smoothing."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = CNN(train.space, features).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    batch = min(BATCH, len(train))
    steps = epochs * (len(train) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for rows in order[: steps // epochs * batch].split(batch):
            logits = network(augment(train.values(rows), generator).to(device))
            loss = F.cross_entropy(logits, train.labels[rows].to(device), label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def judge(
    train: Images,
    test: Images,
    device: torch.device | str = "cpu",
    seed: int = 0,
    epochs: int = 20,
    features: int = 128,
    cache: str | Path | None = None,
) -> Judge:
    """Train a judge on real images; half a minute on two CPU cores for 4,500 of 32x32.

    Args:
        train: what it learns from.
        test: what its accuracy is measured on.
        device: where it trains and runs.
        seed: seed of its weights, batches and augmentation.
        epochs: passes over the training images.
        features: number of penultimate features.
        cache: a file to read its weights from, or to write them to if there is none yet. The
            file does not record the other arguments.

    Raises:
        ValueError: the file of ``cache`` is damaged, or of another judge.
    """
    device = torch.device(device)
    if cache is not None and Path(cache).is_file():
        network = CNN(train.space, features).to(device)
        weights = tensor_file.read(cache, "a judge's weights", FORMATS)[0]
        with files.contents(cache, "a judge's weights"):
            network.load_state_dict(weights)
        network.eval()
    else:
        with torch.random.fork_rng(), torch.enable_grad():
            network = fit(train, device, seed, epochs, features)
        if cache is not None:
            tensor_file.write(cache, network.state_dict(), {"format": FORMAT})
    unscored = Judge(network, float("nan"), device)
    accuracy = (unscored.classify(test.images) == test.labels).double().mean().item()
    return Judge(network, accuracy, device)


def frechet_distance(f1: Tensor, f2: Tensor) -> float:
    """Frechet distance between Gaussians fitted to two sets of features.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, the FID without Inception).
    Computed in float64. The trace of the root is the sum of the singular values of
    C1^(1/2) C2^(1/2), which stays real where a matrix root of the product would not.

    Args:
        f1: features [N, D], N >= 2.
        f2: features [M, D], M >= 2.

    Raises:
        ValueError: if the shapes do not match.
    """
    a, b = (np.asarray(f, dtype=np.float64) for f in (f1, f2))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            "f1, f2: expected [N, D] and [M, D] with N, M >= 2, "
            f"got {list(a.shape)} and {list(b.shape)}"
        )
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    c1, c2 = np.atleast_2d(c1), np.atleast_2d(c2)
    root = np.linalg.svd(_sqrt(c1) @ _sqrt(c2), compute_uv=False).sum()
    mean = a.mean(0) - b.mean(0)
    return float(mean @ mean + np.trace(c1) + np.trace(c2) - 2 * root)


def _sqrt(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semi-definite matrix; rounding below zero is cut."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
