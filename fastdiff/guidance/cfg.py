"""Classifier-free guidance (Ho and Salimans, 2022): u + s (c - u)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from ..arguments import MOST, describe, number, tensor
from ..ops.library import refuse_gradient, require_memory
from ..schedules.base import reals
from .base import Guidance
from .sums import gain

Scale = float | Sequence[float] | torch.Tensor


class Scaled(Guidance):
    """A guidance by scales, each a number or one per sample, all of them 1 (the conditional output
    alone) outside an interval of noise levels.

    A subclass is a frozen dataclass with a field ``interval`` and says its ``_scales``.
    """

    interval: tuple[float, float] | None

    def _scales(self) -> dict:
        """Name -> scale, in the order of the conditions."""
        raise NotImplementedError

    def __post_init__(self):
        for name, scale in self._scales().items():
            values = numbers(name, scale)
            if values.ndim > 1 or not np.all(np.abs(values) <= MOST):
                raise ValueError(
                    f"{name}: expected a finite number or one per sample, of a size up to "
                    f"{MOST:g}, got {describe(scale)}"
                )
        if self.interval is not None:
            _check_interval(self.interval)

    def _scales_of(self, batch) -> list[np.ndarray]:
        """[1 or B] of each condition."""
        given = {name: numbers(name, scale) for name, scale in self._scales().items()}
        for name, values in given.items():
            if values.ndim == 1 and len(values) != batch:
                raise ValueError(f"{name}: expected {batch} (one per sample), got {len(values)}")
        return [values.reshape(-1) for values in given.values()]

    @property
    def outputs(self) -> int:
        """How many outputs of the model are mixed: the unconditional one and the others."""
        return 1 + len(self._scales())

    @property
    def needs_loop(self) -> bool:
        """True if it guides at some noise levels alone."""
        return self.interval is not None

    def is_conditional(self, batch: int) -> bool:
        """True if every scale is 1 for every sample: the last output alone is read."""
        return all(bool((scale == 1.0).all()) for scale in self._scales_of(batch))

    def weights(self, noise_levels: np.ndarray, batch: int) -> np.ndarray:
        scales = [scale.reshape(1, -1) for scale in self._scales_of(batch)]
        if self.interval is not None:
            low, high = self.interval
            inside = ((noise_levels > low) & (noise_levels <= high))[:, None]
            scales = [np.where(inside, scale, 1.0) for scale in scales]
        pairs = zip(scales, scales[1:], strict=False)
        parts = [1.0 - scales[0], *(scale - following for scale, following in pairs), scales[-1]]
        return np.stack(np.broadcast_arrays(*parts) if len(scales) > 1 else parts, axis=-1)


def numbers(name: str, scale: Scale) -> np.ndarray:
    """[] or [B] float64, on the host."""
    if isinstance(scale, torch.Tensor):
        refuse_gradient(**{name: scale})
        require_memory(**{name: scale})
        tensor(name, scale, floating=False)
        return scale.detach().double().cpu().numpy()
    try:
        return reals(name, scale)
    except TypeError:
        expected = "a number or one per sample"
        raise TypeError(f"{name}: expected {expected}, got {describe(scale)}") from None


def _check_interval(interval) -> None:
    try:
        low, high = reals("interval", interval).tolist()
    except (TypeError, ValueError):
        low = high = math.nan
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"interval: expected (lo, hi), got {interval!r}")
    if not low < high:
        raise ValueError(f"interval: expected lo < hi, got {interval!r}")


@dataclass(frozen=True)
class CFG(Scaled):
    """o = u + scale (c - u), outputs stacked [unconditional, conditional].

    ``scale`` is the s of diffusers and the gamma of "Understanding Diffusion Models" (eq. 206...);
    in Ho and Salimans' notation it is 1 + w. 0 is unconditional, 1 conditional.

    Args:
        scale: a number, or one per sample.
        rescale: phi in [0, 1]: how far to bring the standard deviation of each sample back to that
            of its conditional output (Lin et al. 2023, "Common diffusion noise schedules and sample
            steps are flawed", eqs. 15 and 16; ``guidance_rescale`` of diffusers). Costs a pass over
            the outputs.
        interval: (lo, hi): guide only where lo < sigma / alpha <= hi, elsewhere take the
            conditional output ("Applying Guidance in a Limited Interval", Kynkaanniemi et al.,
            2024).
    """

    scale: Scale = 1.0
    rescale: float = 0.0
    interval: tuple[float, float] | None = None

    def __post_init__(self):
        super().__post_init__()
        number("rescale", self.rescale, least=0, most=1)

    def _scales(self):
        return {"scale": self.scale}

    @property
    def data_dependent(self) -> bool:  # type: ignore[override]  # of others a constant
        """True if the weights depend on model outputs."""
        return self.rescale != 0

    def adjust_weights(self, weights, sums, count: int):
        weights = self._directed(weights, sums)
        if not self.rescale:
            return weights
        # The sums are those of the unconditional output, or of a state, and the conditional one.
        summed = weights if weights.shape[1] == 2 else weights[:, [2, 1]]
        return weights * gain(sums, summed, count, self.rescale)[:, None]

    def _directed(self, weights, sums):
        """The weights before the rescaling."""
        return weights

    def cache_key(self) -> tuple:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return type(self), *((n, v) for n, v in named if n not in ("scale", "interval"))
