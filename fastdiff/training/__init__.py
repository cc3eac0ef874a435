"""Training of the packaged models: data, objective, loop, checkpoints and export."""

from .checkpoint import TrainState, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .data import Digits, load_digits
from .export import export
from .loop import evaluate, new_state, train, train_step

__all__ = [
    "Digits",
    "TrainConfig",
    "TrainState",
    "evaluate",
    "export",
    "load_checkpoint",
    "load_digits",
    "new_state",
    "save_checkpoint",
    "train",
    "train_step",
]
