"""Training of the family: data, batches, loop, checkpoints, evaluation and export."""

from .batch import batch_seed, make_batch
from .checkpoint import TrainState, load_checkpoint, load_model, save_checkpoint
from .config import TrainConfig, preset
from .data import load, load_digits
from .export import export
from .images import Images
from .loop import Diverged, evaluate, new_state, train, train_step

__all__ = [
    "Diverged",
    "Images",
    "TrainConfig",
    "TrainState",
    "batch_seed",
    "evaluate",
    "export",
    "load",
    "load_checkpoint",
    "load_digits",
    "load_model",
    "make_batch",
    "new_state",
    "preset",
    "save_checkpoint",
    "train",
    "train_step",
]
