"""Compiling kernels for devices that are not there, by the very calls that would launch them."""

from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from fastdiff.kernels.triton import launch

CUDA = {f"sm_{cc}": GPUTarget("cuda", cc, 32) for cc in (80, 90, 100)}
HIP = {"gfx942": GPUTarget("hip", "gfx942", 64), "gfx1100": GPUTarget("hip", "gfx1100", 32)}


class Launch(NamedTuple):
    name: str
    programs: tuple
    kernel: object  # what was compiled: .asm, .metadata


class Driver:
    """As much of a Triton driver as the compiler asks for."""

    def __init__(self, target):
        self.target = target

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return self.target.arch  # compiled kernels are kept for each device

    def get_current_stream(self, device):
        return 0

    def get_active_torch_device(self):
        return torch.device("cpu")


@contextmanager
def compiled_for(target, cache):
    """A list of Launch, to which everything that Triton would have launched is added."""
    done, run = [], JITFunction.run

    def compile_only(self, *arguments, grid, warmup, **options):
        kernel = run(self, *arguments, grid=grid, warmup=True, **options)
        done.append(Launch(self.fn.__name__, grid, kernel))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(cache))
        patch.setattr(JITFunction, "run", compile_only)
        patch.setattr(launch, "_on", lambda *_: nullcontext())
        patch.setattr(triton.runtime.driver, "_active", Driver(target))
        yield done
