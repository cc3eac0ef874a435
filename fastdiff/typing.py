"""The types of what is handed around, for annotations; nothing here is looked at when code runs.

A guidance is not among them: it is a base class, ``fastdiff.guidance.Guidance``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

__all__ = [
    "Model",
    "Noise",
    "Numbers",
    "Output",
    "PointMass",
    "Prediction",
    "PredictionTarget",
    "Seeds",
]

#: What a network predicts (``fastdiff.parameterization``).
Prediction = Literal["eps", "x0", "v", "score", "flow", "edm", "consistency"]

#: What a solver works in.
PredictionTarget = Literal["x0", "eps"]

#: What a table is checked against (``Solver.exact_on_point_mass``).
PointMass = Literal["full", "drift", "none"]

#: A number, a numpy array or a tensor. A function of one returns what it was given.
Numbers: TypeAlias = Any

#: What a model returns: [G * B, ...], or G tensors [B, ...].
Output: TypeAlias = "Tensor | Sequence[Tensor]"

#: One for the batch, one for each sample, or keys (``fastdiff.noise.keys``).
Seeds: TypeAlias = "int | Sequence[int] | np.ndarray | Tensor"

#: Where normals come from: drawn in the kernel, or what ``SamplerState`` lists.
Noise: TypeAlias = (
    "Literal['philox', 'brownian', 'torch'] | Generator | Sequence[Generator] | Tensor "
    "| Callable[[int, Sequence[int]], Tensor]"
)


class Model(Protocol):
    """Called with the model's input, its time, and conditions: a function or a module."""

    def __call__(self, x: Tensor, t: Tensor, /, *args: Any, **cond: Any) -> Tensor: ...
