"""A small class-conditional UNet in the style of ADM (Dhariwal & Nichol 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import flag, instance, number, on_device, sequence, tensor, whole
from .blocks import (
    Attention,
    Downsample,
    ResBlock,
    Upsample,
    group_norm,
    timestep_embedding,
    zero_,
)

MOST = 2**16  # of a size: beyond, a layer alone would not fit into memory


@dataclass(frozen=True)
class UNetConfig:
    """The architecture of a :class:`UNet`; stored with every checkpoint.

    Attributes:
        image_size: height and width of the images, pixels.
        channels: colour channels of the images.
        classes: number of classes; label ``classes`` is the null class of guidance.
        patch: side of the pixel patches folded into channels before the first level, so that no
            convolution but the unfolding runs at full resolution.
        widths: channels of each level, full resolution (over ``patch``) first; each further level
            halves the resolution.
        blocks: residual blocks per level on the way down; one more on the way up.
        attention: which levels have self-attention after each residual block.
        heads: attention heads.
        emb_dim: size of the time and class embedding.
        dropout: dropout probability inside the residual blocks.
    """

    image_size: int = 32
    channels: int = 1
    classes: int = 10
    patch: int = 2
    widths: tuple[int, ...] = (64, 64, 64)
    blocks: int = 1
    attention: tuple[bool, ...] = (False, True, False)
    heads: int = 4
    emb_dim: int = 192
    dropout: float = 0.05

    def __post_init__(self) -> None:
        for name in ("image_size", "channels", "classes", "patch", "blocks", "heads", "emb_dim"):
            whole(name, getattr(self, name), least=1, most=MOST)
        number("dropout", self.dropout, least=0, below=1)
        # A config read back from JSON has lists.
        widths = sequence("widths", self.widths, "channels of one level or more")
        widths = tuple(whole(f"widths[{k}]", n, least=1, most=MOST) for k, n in enumerate(widths))
        if not widths:
            raise ValueError("widths: expected channels of one level or more, got none")
        attention = sequence("attention", self.attention, "one flag per level")
        attention = tuple(flag(f"attention[{k}]", on) for k, on in enumerate(attention))
        object.__setattr__(self, "widths", widths)
        object.__setattr__(self, "attention", attention)
        if len(self.attention) != len(self.widths):
            raise ValueError(
                f"attention: expected one flag per level ({len(self.widths)}), "
                f"got {len(self.attention)}"
            )
        step = self.patch * 2 ** (len(self.widths) - 1)
        if self.image_size % step:
            raise ValueError(
                f"image_size: expected a multiple of {step} (patch times 2 per further level), "
                f"got {self.image_size}"
            )


class _Stage(nn.Module):
    """A residual block and, on attention levels, self-attention."""

    def __init__(self, in_channels: int, out_channels: int, level: int, config: UNetConfig):
        super().__init__()
        self.block = ResBlock(in_channels, out_channels, config.emb_dim, config.dropout)
        attend = config.attention[level]
        self.attention = Attention(out_channels, config.heads) if attend else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.attention(self.block(x, emb))


class UNet(nn.Module):
    """Class-conditional UNet over continuous time.

    Untrained, it returns zeros: the last convolution starts at zero.
    """

    def __init__(self, config: UNetConfig | None = None):
        super().__init__()
        config = UNetConfig() if config is None else config
        self.config = instance("config", config, UNetConfig, "a UNetConfig")
        widths, patch_channels = config.widths, config.channels * config.patch**2
        self.time = nn.Sequential(
            nn.Linear(widths[0], config.emb_dim),
            nn.SiLU(),
            nn.Linear(config.emb_dim, config.emb_dim),
        )
        self.label = nn.Embedding(config.classes + 1, config.emb_dim)
        self.stem = nn.Conv2d(patch_channels, widths[0], 3, padding=1)
        self.down, skips = self._build_down(config)
        self.middle = _Stage(widths[-1], widths[-1], len(widths) - 1, config)
        self.up = self._build_up(config, skips)
        self.out_norm = group_norm(widths[0])
        self.out = zero_(nn.Conv2d(widths[0], patch_channels, 3, padding=1))

    @staticmethod
    def _build_down(config: UNetConfig) -> tuple[nn.ModuleList, list[int]]:
        layers, skips, width = nn.ModuleList(), [config.widths[0]], config.widths[0]
        for level, out in enumerate(config.widths):
            if level:
                layers.append(Downsample(width, out))
                skips.append(out)
                width = out
            for _ in range(config.blocks):
                layers.append(_Stage(width, out, level, config))
                skips.append(out)
        return layers, skips

    @staticmethod
    def _build_up(config: UNetConfig, skips: list[int]) -> nn.ModuleList:
        layers, width = nn.ModuleList(), config.widths[-1]
        for level in reversed(range(len(config.widths))):
            out = config.widths[level]
            for _ in range(config.blocks + 1):
                layers.append(_Stage(width + skips.pop(), out, level, config))
                width = out
            if level:
                layers.append(Upsample(width, config.widths[level - 1]))
                width = config.widths[level - 1]
        return layers

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict the network's target (v, for the packaged weights) at time ``t``.

        Args:
            x: noisy images, shape [B, C, S, S], floating point; pixels of clean images span
                [-1, 1].
            t: times in [0, 1], shape [B]; 0 is clean data, 1 is noise.
            y: class labels, shape [B], int64 in [0, classes]; ``classes`` is the null class.
                None means the null class for every image.

        Returns:
            tensor of the shape and dtype of ``x``.

        Raises:
            ValueError: on a shape that does not match.
        """
        y = self._check(x, t, y)
        emb = self.time(self._time_features(t)) + self.label(y)
        h = self.stem(F.pixel_unshuffle(x, self.config.patch))
        skips = [h]
        for layer in self.down:
            h = layer(h, emb) if isinstance(layer, _Stage) else layer(h)
            skips.append(h)
        h = self.middle(h, emb)
        for layer in self.up:
            if isinstance(layer, _Stage):
                h = layer(torch.cat([h, skips.pop()], dim=1), emb)
            else:
                h = layer(h)
        h = self.out(F.silu(self.out_norm(h)))
        return F.pixel_shuffle(h, self.config.patch).to(x.dtype)

    def _time_features(self, t: Tensor) -> Tensor:
        dtype = self.label.weight.dtype
        return timestep_embedding(t, self.config.widths[0]).to(dtype)

    def _check(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Validate shapes (never values: that would synchronise the device); return labels."""
        c, s = self.config.channels, self.config.image_size
        tensor("x", x)
        tensor("t", t, floating=False)
        if x.dtype != self.label.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            expected = f"{self.label.weight.dtype} as the network's weights"
            raise ValueError(f"x: expected {expected}, got {x.dtype}")
        if x.ndim != 4 or tuple(x.shape[1:]) != (c, s, s):
            raise ValueError(f"x: expected shape [B, {c}, {s}, {s}], got {list(x.shape)}")
        batch = x.shape[0]
        if t.shape != (batch,):
            raise ValueError(f"t: expected shape [{batch}], got {list(t.shape)}")
        if y is None:
            return torch.full((batch,), self.config.classes, dtype=torch.int64, device=x.device)
        on_device("y", tensor("y", y, floating=False), "x", x)
        if y.shape != (batch,) or y.dtype != torch.int64:
            raise ValueError(
                f"y: expected int64 of shape [{batch}], got {y.dtype} of shape {list(y.shape)}"
            )
        return y
