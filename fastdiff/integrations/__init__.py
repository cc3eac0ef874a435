"""fastdiff in the place of the slow part of other libraries' loops.

Nothing is imported with this package: each integration imports its library when it is asked for.
"""

from typing import TYPE_CHECKING

from ..arguments import attributes

if TYPE_CHECKING:
    from . import diffusers as diffusers
    from . import k_diffusion as k_diffusion
    from . import score_sde as score_sde
else:
    __getattr__ = attributes(__name__, lazy=("diffusers", "k_diffusion", "score_sde"))
