"""k-diffusion's samplers, without the packages that its other modules want."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest


def k_diffusion_sampling():
    """``k_diffusion.sampling``, or skip: it needs only torch and scipy but for its likelihoods and
    Brownian trees, which are left out."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None:
        pytest.skip("k-diffusion is not installed")
    name = "k_diffusion_alone"
    if f"{name}.sampling" in sys.modules:
        return sys.modules[f"{name}.sampling"]
    package, utils = types.ModuleType(name), types.ModuleType(f"{name}.utils")
    package.__path__ = [str(Path(spec.origin).parent)]
    utils.append_dims = lambda x, target: x[(...,) + (None,) * (target - x.ndim)]
    package.utils = utils
    stubs = {name: package, f"{name}.utils": utils}
    for missing in ("torchdiffeq", "torchsde"):
        if missing not in sys.modules and importlib.util.find_spec(missing) is None:
            stubs[missing] = types.ModuleType(missing)
            stubs[missing].odeint = None
    sys.modules.update(stubs)
    try:
        return importlib.import_module(f"{name}.sampling")
    finally:
        for missing in set(stubs) & {"torchdiffeq", "torchsde"}:
            del sys.modules[missing]
