"""What a guidance is: weights of the model's outputs, and what may change them in the loop."""

from abc import ABC, abstractmethod

import numpy as np
import torch

from ..deprecated import Alias


class Guidance(ABC):
    """How the outputs of a model for several conditions are mixed into one.

    The mix of a row is linear, ``o = sum_g w_g out_g``, with weights for each sample. They are
    known before the loop (``weights``), or made in it from a few sums of what the model returned
    (``data_dependent`` and ``adjust_weights``). A guidance with a memory of its own declares it by
    ``init_state``: a tensor like the sample, which ``update_state`` writes at every evaluation and
    which is mixed like one more output.

    A subclass defines ``outputs`` and ``weights``, which is checked when it is made::

        class Average(Guidance):
            outputs = 2

            def weights(self, noise_levels, batch):
                return np.full((1, 1, 2), 0.5)

    Attributes:
        outputs: how many outputs of the model are mixed, at most 4 with the state counted; the
            first is the unconditional one.
        data_dependent: True if the weights depend on model outputs: ``adjust_weights`` then makes
            those of each row. It needs two outputs.
    """

    data_dependent = False

    @property
    def needs_loop(self) -> bool:
        """True if a mix depends on its step or on the mixes before, so that one alone says
        nothing (``fastdiff.guidance.mix``)."""
        return type(self).init_state is not Guidance.init_state

    @property
    @abstractmethod
    def outputs(self) -> int: ...

    @abstractmethod
    def weights(self, noise_levels: np.ndarray, batch: int) -> np.ndarray:
        """The weights of every row.

        Args:
            noise_levels: [R] sigma / alpha where the model is evaluated; NaN on rows without an
                evaluation.
            batch: number of samples.

        Returns:
            [R or 1, batch or 1, outputs] float64.
        """

    def secondary_weights(self) -> np.ndarray:
        """[outputs] weights of the secondary mix that CFG++ reads: the unconditional output alone
        (Chung et al. 2024, "CFG++: manifold-constrained classifier free guidance")."""
        return np.eye(1, self.outputs)[0]

    def is_conditional(self, batch: int) -> bool:
        """True if only the last output is ever read, so that the others need not be computed."""
        return False

    def adjust_weights(self, weights, sums, count: int):
        """The weights of a row, given sums over what the model returned.

        Args:
            weights: [B, 2] float64: those of ``weights`` for each sample, as a tensor or an array;
                both have to be served (``fastdiff.schedules.base.namespace``).
            sums: [B, 5] alike: ``fastdiff.ops.moments`` of the unconditional and the conditional
                output; with a state, of the state and the conditional output.
            count: elements of a sample.

        Returns:
            [B, 2] the weights; with a state [B, 3], its weight being the last.
        """
        raise NotImplementedError(f"{type(self).__name__}.adjust_weights")

    def init_state(self, x: torch.Tensor) -> torch.Tensor | None:
        """The state at the start of a trajectory, of x's shape [B, ...]; None: there is none."""
        return None

    def update_state(self, state, outputs, weights) -> None:
        """Write the state of this evaluation into ``state`` [B, ...], in place.

        Args:
            state: that of the evaluation before.
            outputs: two tensors [B, ...], what the model returned.
            weights: [B, 2] float64 tensor: those of ``weights`` for each sample. Where the first
                one is zero, the unconditional output need not have been computed.
        """
        raise NotImplementedError(f"{type(self).__name__}.update_state")

    def cache_key(self) -> tuple:
        """What of it a captured step depends on: guidances with equal keys can take each other's
        place in it."""
        return type(self), self

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        needed = {"adjust_weights": "data_dependent", "update_state": "init_state"}
        for method, because in needed.items():
            declared = getattr(cls, because)
            if declared is not False and declared is not getattr(Guidance, because):
                if getattr(cls, method) is getattr(Guidance, method):
                    raise TypeError(
                        f"{cls.__name__}: expected {method}, because {because} is defined, got none"
                    )

    adapts = Alias("data_dependent")
    adapted = Alias("adjust_weights")
    second_weights = Alias("secondary_weights")
    kind = Alias("cache_key")
