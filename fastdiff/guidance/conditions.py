"""Guidance by several conditions, one on top of the other."""

from dataclasses import dataclass

from .cfg import Scale, Scaled


@dataclass(frozen=True)
class MultiCondition(Scaled):
    """o = u + s_1 (c_1 - u) + s_2 (c_2 - c_1) + ..., outputs stacked [u, c_1, c_2, ...].

    Each condition adds to the one before: of InstructPix2Pix c_1 knows the image, c_2 the image and
    the text (Brooks et al. 2023, "InstructPix2Pix: learning to follow image editing instructions",
    eq. 3). All scales 1: the last output alone.

    Args:
        scales: one for each condition, up to three, in the order of ``sample``'s list ``cond``;
            each a number, or one per sample.
        interval: see ``CFG``.
    """

    scales: tuple[Scale, ...]
    interval: tuple[float, float] | None = None

    def __post_init__(self):
        scales = self.scales
        if not isinstance(scales, (tuple, list)) or not 1 <= len(scales) <= 3:
            raise ValueError(f"scales: expected one to three in a tuple, got {scales!r}")
        super().__post_init__()

    def _scales(self):
        return {f"scales[{k}]": scale for k, scale in enumerate(self.scales)}
