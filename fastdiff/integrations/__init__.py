"""fastdiff in the place of the slow part of other libraries' loops.

Nothing is imported with this package: each integration imports its library when it is asked for.
"""

from ..arguments import attributes

__getattr__ = attributes(__name__, lazy=("diffusers", "k_diffusion", "score_sde"))
