"""Makes the modules of this folder importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def kd():
    """k-diffusion's module of samplers."""
    from host.peers import k_diffusion_sampling

    return k_diffusion_sampling()
