"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop, or
made in it from a few sums of each sample."""

from ..arguments import attributes, describe
from .base import Guidance as Guidance
from .cfg import CFG as CFG
from .conditions import MultiCondition as MultiCondition
from .mix import mix as mix
from .projected import APG as APG
from .projected import TCFG as TCFG
from .projected import CFGZeroStar as CFGZeroStar


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


__getattr__ = attributes(__name__)
