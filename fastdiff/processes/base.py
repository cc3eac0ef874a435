"""The process of a schedule."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arguments import MOST, describe, number
from ..schedules import Schedule
from ..schedules.base import namespace


@dataclass(frozen=True)
class Process:
    """dx = f(t) x dt + g(t) dw with the marginals of a schedule.

    f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2: the one linear process with these
    marginals. All functions take a number, a numpy array or a torch tensor of times, as the
    schedule's do, and need alpha(t) > 0.

    Attributes:
        schedule: the marginals; x_t = alpha(t) x0 + sigma(t) eps.
    """

    schedule: Schedule
    family: ClassVar[type[Schedule]] = Schedule  # what the schedule must be

    def __post_init__(self):
        if not isinstance(self.schedule, self.family):
            raise TypeError(
                f"{type(self).__name__}: schedule must be a fastdiff {self.family.__name__}, "
                f"got {self.schedule!r}"
            )

    def drift(self, t):
        """f(t), the rate at which the signal is scaled."""
        return self.schedule.dalpha(t) / self.schedule.alpha(t)

    def diffusion2(self, t):
        """g(t)^2, the rate at which variance is added."""
        sigma = self.schedule.sigma(t)
        return 2 * sigma * (self.schedule.dsigma(t) - self.drift(t) * sigma)

    def diffusion(self, t):
        """g(t)."""
        xp, _ = namespace(t)
        return xp.sqrt(self.diffusion2(t))

    def marginal(self, t):
        """``(alpha, sigma)`` of x_t given x0."""
        return self.schedule.alpha(t), self.schedule.sigma(t)

    @property
    def prior(self) -> float:
        """Standard deviation of the noise N(0, prior^2) from which sampling starts, at t_max."""
        return float(self.schedule.sigma(self.schedule.t_max))

    def transition(self, s, t):
        """``(a, c)``: x_t given x_s (s < t) is N(a x_s, c^2), exactly."""
        xp = namespace(t)[0] if namespace(s)[0] is np else namespace(s)[0]
        alpha_s, sigma_s = self.marginal(s)
        alpha_t, sigma_t = self.marginal(t)
        try:
            a = alpha_t / alpha_s
            return a, xp.sqrt(xp.clip(sigma_t**2 - (a * sigma_s) ** 2, 0, None))
        except (RuntimeError, ValueError, TypeError):
            expected = "times that go with t"
            raise ValueError(
                f"s: expected {expected}, got {describe(s)} and {describe(t)}"
            ) from None

    def reverse(self, t, x, score, noise=1.0):
        """``(drift, g)`` of the reverse-time equation at x. Song et al. 2021, eqs. 6 and 13.

        drift = f x - (1 + noise) / 2 g^2 score, with sqrt(noise) g dw beside it: 1 is the reverse
        SDE, 0 the probability-flow ODE, all with the same marginals.
        """
        noise = number("noise", noise, least=0, most=MOST)
        for name, value in {"x": x, "score": score}.items():
            try:
                namespace(value)
            except (TypeError, ValueError):
                expected = "real numbers"
                raise TypeError(f"{name}: expected {expected}, got {describe(value)}") from None
        g2 = self.diffusion2(t)
        try:
            with np.errstate(all="ignore"):  # as tensors: inf and NaN are numbers
                return self.drift(t) * x - 0.5 * (1 + noise) * g2 * score, (noise * g2) ** 0.5
        except (RuntimeError, ValueError, TypeError):
            raise ValueError(
                "x: expected x, score and t whose shapes go together, "
                f"got {describe(x)}, {describe(score)} and {describe(t)}"
            ) from None
