"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop."""

from .cfg import CFG as CFG
from .mix import mix as mix

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
