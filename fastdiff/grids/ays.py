"""Steps optimised for particular models, as data."""

from dataclasses import dataclass, field

import numpy as np

from .base import Grid, append_clean, check_final

# sigma / alpha of ten steps; the last one is the level below which one jump follows
_LEVELS = {
    "sd": (
        14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
        0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582,
    ),
    "sdxl": (
        14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141,
        0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582,
    ),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}  # fmt: skip


@dataclass(frozen=True)
class AYS(Grid):
    """Align Your Steps. Sabour, Fidler and Kreis 2024: sigma / alpha chosen for a model.

    Published for ten steps; other numbers interpolate log sigma evenly between them. The last
    level is replaced by clean data, unless ``final`` is "min".

    Attributes:
        model: "sd" (Stable Diffusion 1.5), "sdxl" or "svd" (Stable Video Diffusion).
        parity: round the levels to float32.
    """

    model: str = "sd"
    final: str = "clean"
    parity: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        check_final(self)
        if not isinstance(self.model, str) or self.model not in _LEVELS:
            raise ValueError(
                f"AYS: model must be one of {', '.join(map(repr, _LEVELS))}, got {self.model!r}"
            )

    def times(self, schedule, steps):
        levels = np.log(_LEVELS[self.model])
        rho = np.exp(np.interp(np.linspace(0, 10, steps + 1), np.arange(11), levels))
        if self.parity:
            rho = rho.astype(np.float32).astype(np.float64)
        high = np.exp(-schedule.lam(schedule.t_largest))
        if rho[0] > 1.001 * high:
            raise ValueError(
                f"AYS: schedule must reach sigma / alpha = {rho[0]:g} of {self.model!r}, "
                f"got {schedule!r} with {high:g}"
            )
        times = np.minimum(schedule.t_of_lam(-np.log(rho)), schedule.t_largest)
        if schedule.T is not None:  # the ten levels are those of timesteps
            near = np.round(times)
            times = np.where(np.abs(times - near) < 1e-3, near, times)
        return append_clean(self, schedule, times[:-1]) if self.final == "clean" else times
