"""What the members of the family share: the data they model, a batch, and a loss per sample."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..arguments import describe, instance, number, sequence, tensor, whole
from ..losses import standard_normal
from ..noise import fold_in
from .mlp import ResidualMLP
from .unet import UNet, UNetConfig

SMOOTHING = 0.1  # counts added to every level, so that none is impossible
FEW = 2**15  # numbers that a network may give for one image by default,
MOST_WEIGHTS = 2**28  # and weights that the layer which gives them may have: 1 GiB


@dataclass(frozen=True)
class Space:
    """Images [C, H, W] of ``depth`` grey levels, shown to networks as values in [-1, 1].

    Attributes:
        shape: (C, H, W).
        depth: number of grey levels, 17 or 256, say.
        classes: number of labels; label ``classes`` is the null class.
    """

    shape: tuple[int, int, int]
    depth: int
    classes: int

    def __post_init__(self) -> None:
        shape = sequence("shape", self.shape, "(C, H, W)", 3)  # a list, if read from JSON
        sizes = (whole(f"shape[{k}]", n, least=1, most=2**16) for k, n in enumerate(shape))
        object.__setattr__(self, "shape", tuple(sizes))
        whole("depth", self.depth, least=2, most=2**16)
        whole("classes", self.classes, least=1, most=2**24)

    @property
    def dims(self) -> int:
        """C H W."""
        c, h, w = self.shape
        return c * h * w

    @property
    def values(self) -> Tensor:
        """[depth] the values of the levels."""
        return torch.linspace(-1, 1, self.depth)

    @property
    def few_levels(self) -> bool:
        """Whether a network may well give one number for each level of each pixel."""
        return self.dims * self.depth <= FEW

    def levels(self, x: Tensor) -> Tensor:
        """Values in [-1, 1] as int64 levels."""
        tensor("x", x)
        return ((x + 1) * ((self.depth - 1) / 2)).round().long().clamp(0, self.depth - 1)


@dataclass(frozen=True)
class Batch:
    """Some images, and all the randomness that their loss may use.

    Attributes:
        x: [B, C, H, W] values in [-1, 1].
        y: [B] int64 labels.
        u: [B] stratified uniform numbers, for times.
        keys: [B, 2] of the noise, see ``fastdiff.noise``.
        step: of the training, for warm-ups.
    """

    x: Tensor
    y: Tensor
    u: Tensor
    keys: Tensor
    step: int = 0

    def stream(self, number: int) -> Tensor:
        """[B, 2] independent keys for each use of noise in a loss."""
        return fold_in(self.keys, number)

    def drop_labels(self, null: int, probability: float) -> Tensor:
        """Labels, each replaced by ``null`` with this probability, so that a network also learns
        the unconditional score (Ho and Salimans 2022, "Classifier-free guidance", alg. 1)."""
        if not probability:
            return self.y
        uniform = torch.special.ndtr(standard_normal(self.stream(99), torch.zeros(len(self.y))))
        return torch.where(uniform.to(self.y.device) < probability, null, self.y)


class Member(nn.Module):
    """Base class of the family: a module built from its ``Config`` and a ``Space``."""

    Config: ClassVar[type]

    def __new__(cls, *args, **kwargs):
        # Checked here, since subclasses read both before they are modules. Copies have none.
        for name, value in [*zip(("config", "space"), args, strict=False), *kwargs.items()]:
            kind = {"config": getattr(cls, "Config", object), "space": Space}.get(name, object)
            instance(name, value, kind, f"a {kind.__name__}")
        return super().__new__(cls)

    def __init__(self, config, space: Space):
        super().__init__()
        self.config, self.space = config, space

    def fit(self, images: Tensor) -> None:
        """Take statistics of the training images [N, C, H, W], once, before training."""

    def loss(self, batch: Batch) -> Tensor:
        """[B] what training minimises the mean of."""
        raise NotImplementedError


def require(config, least: float, *names: str, below: float = math.inf) -> None:
    """Raise unless these settings of ``config`` are numbers from ``least`` on, below ``below``."""
    for name in names:
        check = whole if type(getattr(type(config), name)) is int else number
        try:
            value = check(name, getattr(config, name), least=least)
        except ValueError:
            value = math.inf
        if not least <= value < min(below, MOST_WEIGHTS):
            what = f"at least {least:g}" + (f" and below {below:g}" if below < math.inf else "")
            raise ValueError(f"{name}: expected {what}, got {describe(getattr(config, name))}")


def settings_from(kind: type, values: dict):
    """A dataclass of settings from all of its fields: a file that lacks one is refused, or a
    default of today would stand for what a model was made with."""
    missing = [f.name for f in fields(kind) if f.name not in values]
    if missing:
        raise ValueError(f"{missing[0]}: expected a value of this setting, got none")
    unknown = values.keys() - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(f"{min(unknown)}: expected no such setting of {kind.__name__}, got one")
    return kind(**values)


def check_size(option: str, space: Space, outputs: int, hidden: int, hint: str) -> None:
    """Raise if a layer from ``hidden`` numbers to ``outputs`` for each pixel has no chance."""
    weights = space.dims * outputs * hidden
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"{option}: expected an output layer of at most {MOST_WEIGHTS:,} weights, got "
            f"{weights:,} for {outputs} numbers for each of {space.dims} pixels; use {hint}"
        )


def log_histograms(images: Tensor, space: Space) -> Tensor:
    """[C, H, W, depth] log of the frequency of each level in each pixel of images [N, C, H, W]."""
    level = space.levels(images)
    counts = torch.stack([(level == k).sum(0) for k in range(space.depth)], -1) + SMOOTHING
    return torch.log(counts / counts.sum(-1, keepdim=True))


def make_net(config, space: Space, outputs: int | None = None) -> nn.Module:
    """The network of a denoiser: ``config.net`` is "mlp" or "unet".

    Args:
        config: has net, hidden, blocks, dropout.
        space: the data.
        outputs: channels of the output; default: those of the data.
    """
    channels, height, width = space.shape
    outputs = channels if outputs is None else outputs
    if config.net == "mlp":
        return ResidualMLP(
            space.shape, (outputs, height, width), config.hidden, config.blocks,
            space.classes, config.dropout,
        )  # fmt: skip
    if config.net != "unet":
        raise ValueError(f'net: expected "mlp" or "unet", got {config.net!r}')
    if height != width or outputs != channels:
        raise ValueError(
            f"net: expected square images and one output per input for a UNet, "
            f"got {height}x{width}, {channels} channels in and {outputs} out"
        )
    small = height <= 16
    return UNet(
        UNetConfig(
            image_size=height,
            channels=channels,
            classes=space.classes,
            patch=1 if small else 2,
            widths=(config.hidden,) * (2 if small else 3),
            attention=(False, True) if small else (False, True, False),
            blocks=config.blocks,
            emb_dim=3 * config.hidden,
            dropout=config.dropout,
        )
    )
