"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop, or
made in it from a few sums of each sample."""

from ..arguments import attributes, describe
from .cfg import CFG as CFG
from .conditions import MultiCondition as MultiCondition
from .mix import mix as mix
from .projected import APG as APG
from .projected import TCFG as TCFG
from .projected import CFGZeroStar as CFGZeroStar

#: What the loop asks of a guidance; ``CFG`` says what each is.
PROTOCOL = ("outputs", "weights", "second_weights", "is_conditional")


def check(guidance) -> None:
    """Raise TypeError unless ``guidance`` is None or a guidance object."""
    if guidance is None:
        return
    expected = f"guidance: expected None or one such as CFG(2.0), got {describe(guidance)}"
    if isinstance(guidance, type):
        raise TypeError(f"{expected}; write {guidance.__name__}(...)")
    if isinstance(guidance, (int, float)):
        raise TypeError(f"{expected}; write CFG({guidance!r}) for that scale")
    missing = [name for name in PROTOCOL if not hasattr(guidance, name)]
    if getattr(guidance, "adapts", False) and not callable(getattr(guidance, "adapted", None)):
        missing.append("adapted")  # which makes the weights of one that adapts
    if missing:
        raise TypeError(f"{expected} without {', '.join(missing)}")


__getattr__ = attributes(__name__)
