"""Networks: a small class-conditional UNet and the packaged digit weights."""

from .io import digits, load, save
from .unet import UNet, UNetConfig

__all__ = ["UNet", "UNetConfig", "digits", "load", "save"]
