"""Makes the modules of this folder importable, and turns gradients off as every sampler does."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config):
    """Warnings are errors in this project; these two come from the peers, not from fastdiff."""
    for theirs in ("__array__ implementation doesn't accept", "`torch.jit.script_method`"):
        config.addinivalue_line("filterwarnings", f"ignore:{theirs}:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield
