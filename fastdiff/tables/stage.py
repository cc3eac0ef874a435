"""One stage of a solver, in its own notation."""

from dataclasses import dataclass

from ..deprecated import renamed
from .lin import Lin
from .path import Point


@renamed(told="conditioning")
@dataclass(frozen=True)
class Stage:
    """What to do after one model evaluation; all operands (``linear``) are from before it.

    Attributes:
        x: the next state, to evaluate the model at (after the last stage: the sample).
        at: the noise level on which it lands.
        s: the new saved anchor; None keeps it.
        remember: what to push on the history; None pushes nothing.
        gain: (g_0, g_1): the draw Z of this stage is multiplied, element by element, by
            exp(g_0 + g_1 v), v the part of the model's output that is a learned variance.
        known: (a, b): where the mask is 1 the next state is a known + b Z instead of ``x``; None:
            nothing is known.
        conditioning: the noise level whose time the model is conditioned on there; None: ``at``.
    """

    x: Lin
    at: Point
    s: Lin | None = None
    remember: Lin | None = None
    gain: tuple[float, float] = (0.0, 0.0)
    known: tuple[float, float] | None = None
    conditioning: Point | None = None
