"""Running a table: the state of a batch of trajectories, and the loop around a model."""

from .sample import sample as sample
from .state import SamplerState as SamplerState
