"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop, or
made in it from a few sums of each sample."""

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
    missing = [name for name in PROTOCOL if not hasattr(guidance, name)]
    if missing or isinstance(guidance, type):
        without = f" without {', '.join(missing)}" if missing else ""
        raise TypeError(
            f"guidance: expected None or one such as CFG(2.0), got {guidance!r}{without}"
        )
