"""Noise schedules: x_t = alpha(t) x0 + sigma(t) eps, and the frame in which a model sees x_t."""

from ..arguments import attributes
from .base import Schedule as Schedule
from .discrete import DiscreteBetas as DiscreteBetas
from .flow import RectifiedFlow as RectifiedFlow
from .logsnr import LogSNR as LogSNR
from .sigmas import DiscreteSigmas as DiscreteSigmas
from .trig import TrigFlow as TrigFlow
from .ve import EDM as EDM
from .ve import VE as VE
from .ve import VarianceExploding as VarianceExploding
from .vp import SubVP as SubVP
from .vp import VPCosine as VPCosine
from .vp import VPLinear as VPLinear


def names() -> tuple[str, ...]:
    """Names of the schedules in this module."""
    return tuple(
        sorted(k for k, v in globals().items() if isinstance(v, type) and v is not Schedule)
    )


__getattr__ = attributes(__name__)
