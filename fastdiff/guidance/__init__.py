"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop, or
made in it from a few sums of each sample."""

from typing import TYPE_CHECKING

from ..arguments import attributes, describe
from .base import Guidance
from .cfg import CFG
from .conditions import MultiCondition
from .mix import mix
from .projected import APG, TCFG, CFGZeroStar

__all__ = [
    "APG",
    "CFG",
    "CFGZeroStar",
    "Guidance",
    "MultiCondition",
    "TCFG",
    "check",
    "mix",
]


def check(guidance) -> None:
    """Raise TypeError unless ``guidance`` is None or a guidance object."""
    if guidance is None or isinstance(guidance, Guidance):
        return
    hint = ""
    if isinstance(guidance, type):
        hint = f"; write {guidance.__name__}(...)"
    elif isinstance(guidance, (int, float)):
        hint = f"; write CFG({guidance!r}) for that scale"
    expected = "None or a fastdiff.guidance.Guidance such as CFG(2.0)"
    raise TypeError(f"guidance: expected {expected}, got {describe(guidance)}{hint}")


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
