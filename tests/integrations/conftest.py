"""Makes the modules of this folder importable."""

import pytest


@pytest.fixture(scope="module")
def kd():
    """k-diffusion's module of samplers."""
    from tests.support.peers import k_diffusion_sampling

    return k_diffusion_sampling()
