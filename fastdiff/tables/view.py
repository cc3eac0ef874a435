"""How a model sees the noise levels of a path: its inputs, and how its outputs are read."""

from typing import NamedTuple

import numpy as np

from ..parameterization import Frame, Reading, check_defined, output_levels, read_levels
from ..schedules.base import reals


class View(NamedTuple):
    """How a model sees the points at which it runs: what was given of it, see ``lower_path``."""

    times: object = None
    scales: object = None

    def at(self, path, prediction, points, conditioning):
        """(inputs, outputs, readings), of each a tuple of numbers for each point: the input scale
        and the model's time; the factors of x0 and eps in an exact model's output; a ``Reading``.
        """
        t, alpha, sigma = np.array([(p.t, p.alpha, p.sigma) for p in points]).T.copy()
        schedule = path.schedule
        scales, times = np.ones(len(t)), np.array([p.t for p in conditioning])
        if schedule is not None:
            scales, times = schedule.input_scale(t), schedule.model_time(times)
            frame = Frame.of(prediction, schedule, t)
        if self.scales is not None:
            given = self.scales(alpha, sigma) if callable(self.scales) else self.scales
            scales = _one_each("input_scales", given, len(t))
        if self.times is not None:
            times = _one_each("model_times", self.times, len(t))
        if schedule is None:
            rates = _rates(path) if prediction == "flow" else None
            frame = Frame(scales, rates)
        elif self.scales is not None:
            frame = frame._replace(scale=scales)
        check_defined(prediction, alpha, sigma, frame, t, schedule)
        parts = (
            (scales, times),
            output_levels(prediction, alpha, sigma, frame),
            read_levels(prediction, alpha, sigma, frame),
        )
        nothing = np.zeros(len(t))
        inputs, outputs, readings = (
            list(zip(*[(v + nothing).tolist() for v in part], strict=True)) for part in parts
        )
        return inputs, outputs, list(map(Reading._make, readings))


def _rates(path):
    if path.norm != "flow":
        raise ValueError(
            'prediction "flow" needs a schedule, or levels with alpha + sigma = 1, '
            f"got {path.norm} levels"
        )
    return -1.0, 1.0


def _one_each(name, values, count):
    values = reals(name, values)
    if values.shape != (count,):
        raise ValueError(
            f"{name}: expected shape ({count},), one for each model evaluation, got {values.shape}"
        )
    return values
