"""Diffusion processes: the stochastic differential equations behind the schedules.

    dx = f(t) x dt + g(t) dw,   x_t given x0 ~ N(alpha(t) x0, sigma(t)^2)

``of(schedule)`` is the process of any schedule.
"""

from ..arguments import attributes
from .base import Process as Process
from .families import VE as VE
from .families import VP as VP
from .families import RectifiedFlow as RectifiedFlow
from .families import SubVP as SubVP
from .families import of as of

__getattr__ = attributes(__name__)
