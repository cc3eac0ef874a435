"""Diffusion processes: the stochastic differential equations behind the schedules.

    dx = f(t) x dt + g(t) dw,   x_t given x0 ~ N(alpha(t) x0, sigma(t)^2)

``of(schedule)`` is the process of any schedule.
"""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .base import Process
from .families import VE, VP, RectifiedFlow, SubVP, of

__all__ = [
    "Process",
    "RectifiedFlow",
    "SubVP",
    "VE",
    "VP",
    "of",
]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
