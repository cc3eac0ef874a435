"""A residual MLP over pixels, noise level and class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import timestep_embedding, zero_

EMBEDDING = 64


class ResidualMLP(nn.Module):
    """x + MLP(x) blocks; one vector for time and class is added in each, and one scales the end:
    how strong a denoiser's linear part is depends on the noise level above all.

    Untrained, it returns zeros: the last layer starts at zero.

    Args:
        inputs: shape of x without the batch.
        outputs: shape of the output without the batch.
        hidden: width.
        blocks: number of residual blocks.
        classes: number of labels; label ``classes`` is the null class.
        dropout: dropout probability in each block.
    """

    def __init__(self, inputs, outputs, hidden: int, blocks: int, classes: int, dropout: float):
        super().__init__()
        self.outputs, self.classes = tuple(outputs), classes
        self.stem = nn.Linear(math.prod(inputs), hidden)
        self.time = nn.Sequential(nn.Linear(EMBEDDING, hidden), nn.SiLU())
        self.label = nn.Embedding(classes + 1, hidden)
        self.add = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.first = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.norm = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(blocks))
        self.dropout = nn.Dropout(dropout)
        self.gate = zero_(nn.Linear(hidden, hidden))
        self.out = zero_(nn.Linear(hidden, math.prod(outputs)))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x [B, *inputs], t [B] in [0, 1], y [B] int64 or None (null class) -> [B, *outputs]."""
        if y is None:
            y = torch.full((len(x),), self.classes, dtype=torch.int64, device=x.device)
        h = self.stem(x.flatten(1))
        emb = self.time(timestep_embedding(t, EMBEDDING).to(h.dtype)) + self.label(y)
        for add, norm, first, second in zip(
            self.add, self.norm, self.first, self.second, strict=True
        ):
            inside = F.silu(first(norm(h)) + add(emb))
            h = h + second(self.dropout(inside))
        return self.out(h * (1 + self.gate(emb))).reshape(-1, *self.outputs)
