"""Networks and the family of models: a UNet, and VAE to score SDE, each defined in one file."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .catalogue import FAMILY, find
from .classifier import Classifier, Guided
from .ddpm import DDPM
from .family import Batch, Member, Space
from .gamma import Gamma
from .hvae import HVAE
from .io import digits, load, save
from .ncsn import NCSN
from .sde import ScoreSDE
from .unet import UNet, UNetConfig
from .vae import VAE
from .vdm import VDM

__all__ = [
    "DDPM",
    "FAMILY",
    "HVAE",
    "NCSN",
    "VAE",
    "VDM",
    "Batch",
    "Classifier",
    "Gamma",
    "Guided",
    "Member",
    "ScoreSDE",
    "Space",
    "UNet",
    "UNetConfig",
    "digits",
    "find",
    "load",
    "save",
]

if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
