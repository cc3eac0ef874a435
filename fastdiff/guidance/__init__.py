"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop."""

from .cfg import CFG as CFG
from .mix import mix as mix


def check(guidance) -> None:
    """Raise TypeError unless ``guidance`` is None or a guidance object."""
    if guidance is not None and (isinstance(guidance, type) or not hasattr(guidance, "weights")):
        raise TypeError(f"guidance: expected None or one such as CFG(2.0), got {guidance!r}")
