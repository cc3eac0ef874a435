from dataclasses import dataclass

from .kdpm2 import KDPM2
from .kdpm2_ancestral import KDPM2Ancestral


@dataclass(frozen=True)
class DPM2(KDPM2):
    """``KDPM2`` under its name in k-diffusion, ``dpm_2``, and in user interfaces."""


@dataclass(frozen=True)
class DPM2Ancestral(KDPM2Ancestral):
    """``KDPM2Ancestral`` under its name in k-diffusion, ``dpm_2_ancestral``."""
