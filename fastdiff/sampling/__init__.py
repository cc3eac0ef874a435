"""Running a table: the state of a batch of trajectories, and the loop around a model."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .adaptive import RK45, Solution, sample_adaptive
from .dpm_adaptive import DPMAdaptive
from .langevin import Langevin, predictor_corrector
from .sample import sample
from .state import SamplerState

__all__ = [
    "DPMAdaptive",
    "Langevin",
    "RK45",
    "SamplerState",
    "Solution",
    "predictor_corrector",
    "sample",
    "sample_adaptive",
]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
