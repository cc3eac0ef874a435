"""Noise schedules: x_t = alpha(t) x0 + sigma(t) eps, and the frame in which a model sees x_t."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .base import Schedule
from .discrete import DiscreteBetas
from .flow import RectifiedFlow
from .logsnr import LogSNR
from .sigmas import DiscreteSigmas
from .trig import TrigFlow
from .ve import EDM, VE, VarianceExploding
from .vp import SubVP, VPCosine, VPLinear

__all__ = [
    "DiscreteBetas",
    "DiscreteSigmas",
    "EDM",
    "LogSNR",
    "RectifiedFlow",
    "Schedule",
    "SubVP",
    "TrigFlow",
    "VE",
    "VPCosine",
    "VPLinear",
    "VarianceExploding",
    "names",
]


def names() -> tuple[str, ...]:
    """Names of the schedules in this module."""
    return tuple(
        sorted(k for k, v in globals().items() if isinstance(v, type) and v is not Schedule)
    )


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
