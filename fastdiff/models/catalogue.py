"""The members of the family by name."""

from __future__ import annotations

from .classifier import Classifier
from .ddpm import DDPM
from .family import Member
from .hvae import HVAE
from .ncsn import NCSN
from .sde import ScoreSDE
from .vae import VAE
from .vdm import VDM

FAMILY: dict[str, type[Member]] = {
    "vae": VAE,
    "hvae": HVAE,
    "vdm": VDM,
    "ddpm": DDPM,
    "ncsn": NCSN,
    "sde": ScoreSDE,
    "classifier": Classifier,
}


def find(name: str) -> type[Member]:
    """The member of the family called ``name``."""
    if not isinstance(name, str) or name not in FAMILY:
        raise ValueError(f"family: expected one of {', '.join(FAMILY)}, got {name!r}")
    return FAMILY[name]
