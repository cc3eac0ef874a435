from dataclasses import dataclass
from typing import TypeAlias

from ..arguments import number


@dataclass(frozen=True)
class DynamicThreshold:
    """Clipping of x0 to a bound of each sample's own. Saharia et al. 2022, "Photorealistic
    text-to-image diffusion models with deep language understanding", section 2.3.

    b = the quantile of \\|x0\\| over the sample, within [1, highest];  x0 <- clip(x0, -b, b) / b

    With ``highest`` = 1 that is clip(x0, -1, 1), and is lowered to it: no quantile is computed.

    Attributes:
        quantile: 0 to 1, of the absolute values.
        highest: the largest bound, 1 or more.
    """

    quantile: float = 0.995
    highest: float = float("inf")

    def __post_init__(self):
        for name in ("quantile", "highest"):
            number(name, getattr(self, name), finite=False)
        if not 0 < self.quantile <= 1:
            raise ValueError(f"DynamicThreshold: quantile must be in (0, 1], got {self.quantile!r}")
        if not self.highest >= 1:
            raise ValueError(f"DynamicThreshold: highest must be at least 1, got {self.highest!r}")

    @property
    def bounds(self) -> tuple[float, float, float]:
        """(lo, hi, quantile) of a row; quantile 0: static."""
        if self.highest == 1:
            return -1.0, 1.0, 0.0
        return -float("inf"), float(self.highest), float(self.quantile)


#: c for [-c, c], (lo, hi), or a bound of each sample's own.
Clip: TypeAlias = float | tuple[float, float] | DynamicThreshold
