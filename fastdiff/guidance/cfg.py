"""Classifier-free guidance (Ho and Salimans, 2022): u + s (c - u)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..ops.library import refuse_gradient, require_memory


@dataclass(frozen=True)
class CFG:
    """o = u + scale (c - u), outputs stacked [unconditional, conditional].

    ``scale`` is the s of diffusers and the gamma of "Understanding Diffusion Models" (eq. 206...);
    in Ho and Salimans' notation it is 1 + w. 0 is unconditional, 1 conditional.

    Args:
        scale: a number, or one per sample.
        interval: (lo, hi): guide only where lo < sigma / alpha <= hi, elsewhere take the
            conditional output ("Applying Guidance in a Limited Interval", Kynkaanniemi et al.,
            2024).
    """

    scale: float | Sequence[float] | torch.Tensor = 1.0
    interval: tuple[float, float] | None = None

    outputs = 2

    def __post_init__(self):
        scales = self.scales()
        if scales.ndim > 1 or not np.all(np.abs(scales) <= np.finfo(np.float32).max):
            raise ValueError(
                f"scale: expected a finite number or one per sample, got {self.scale!r}"
            )
        if self.interval is not None:
            try:
                low, high = map(float, self.interval)
            except (TypeError, ValueError):
                low = high = math.nan
            if math.isnan(low) or math.isnan(high):
                raise ValueError(f"interval: expected (lo, hi), got {self.interval!r}")
            if not low < high:
                raise ValueError(f"interval: expected lo < hi, got {self.interval!r}")

    def scales(self) -> np.ndarray:
        """[] or [B] float64."""
        if isinstance(self.scale, torch.Tensor):
            refuse_gradient(scale=self.scale)
            require_memory(scale=self.scale)
            return self.scale.detach().double().cpu().numpy()
        try:
            return np.asarray(self.scale, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"scale: expected a number or one per sample, got {self.scale!r}"
            ) from None

    def _scales_of(self, batch):
        scales = self.scales()
        if scales.ndim == 1 and len(scales) != batch:
            raise ValueError(f"scale: expected {batch} (one per sample), got {len(scales)}")
        return scales

    def is_conditional(self, batch: int) -> bool:
        """Whether the conditional output alone is taken, for every sample and at every level."""
        return bool((self._scales_of(batch) == 1.0).all())

    @staticmethod
    def second_weights() -> np.ndarray:
        """[2] weights of the second mix: the unconditional output alone (Chung et al. 2024,
        "CFG++: manifold-constrained classifier free guidance")."""
        return np.array([1.0, 0.0])

    def weights(self, noise_levels: np.ndarray, batch: int) -> np.ndarray:
        """[R or 1, batch or 1, 2] float64 weights of (unconditional, conditional).

        Args:
            noise_levels: [R] sigma / alpha where the model is evaluated; NaN: no model.
            batch: number of samples.
        """
        scale = self._scales_of(batch).reshape(1, -1)
        if self.interval is not None:
            low, high = self.interval
            inside = (noise_levels > low) & (noise_levels <= high)
            scale = np.where(inside[:, None], scale, 1.0)
        return np.stack(pair(scale), axis=-1)


def pair(scale):
    """The weights of the unconditional and the conditional output."""
    return 1.0 - scale, scale
