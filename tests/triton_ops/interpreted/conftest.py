"""Under Triton's interpreter: it has to be chosen before triton is imported, so these files run in
processes of their own (``test_interpreted.py`` starts them)."""

import numpy as np
import pytest
import torch
from hypothesis import settings
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, tl

import fastdiff
from fastdiff.kernels.triton import launch

for profile, examples in (("interpreted", 4), ("thorough", 100)):
    settings.register_profile(profile, settings.get_profile("fastdiff"), max_examples=examples)
settings.load_profile("interpreted")  # unless --hypothesis-profile=thorough


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:.* encountered in :RuntimeWarning")


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """What the interpreter takes goes by programs, not by elements."""
    monkeypatch.setattr(launch, "SMALL_TILE_BYTES", 8192)


@pytest.fixture(autouse=True)
def on_triton():
    with fastdiff.backend("triton"):
        yield


@pytest.fixture(autouse=True)
def counting_to_a_number_of_the_kernel(monkeypatch):
    """Triton 3.6 makes an int of an array of one element, which numpy has stopped to do."""
    patch = interpreter._patch_lang_tensor

    def patched(tensor, *scope):
        patch(tensor, *scope)
        tensor.__index__ = lambda self: self.handle.data.item()

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patched)


@pytest.fixture(autouse=True)
def rounding_of_a_device(monkeypatch):
    """The interpreter truncates where devices round to bfloat16."""
    cast = InterpreterBuilder.cast_impl

    def rounded(self, source, to):
        if to.scalar != tl.bfloat16 or source.dtype.scalar != tl.float32:
            return cast(self, source, to)
        bits = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16().view(torch.int16)
        return TensorHandle(bits.numpy().view(np.uint16), tl.bfloat16)

    monkeypatch.setattr(InterpreterBuilder, "cast_impl", rounded)
