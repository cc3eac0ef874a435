"""Running a table: the state of a batch of trajectories, and the loop around a model."""

from ..arguments import attributes
from .adaptive import RK45 as RK45
from .adaptive import Solution as Solution
from .adaptive import sample_adaptive as sample_adaptive
from .dpm_adaptive import DPMAdaptive as DPMAdaptive
from .langevin import Langevin as Langevin
from .langevin import predictor_corrector as predictor_corrector
from .sample import sample as sample
from .state import SamplerState as SamplerState

__getattr__ = attributes(__name__)
