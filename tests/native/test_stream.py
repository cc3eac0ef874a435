"""torch's current stream, found at run time: the module is linked against any torch, and a torch
for CUDA keeps its symbols to itself."""

import shutil
import subprocess
import sys

import pytest
import torch

from tests.support.helpers import native_only, run_python

pytestmark = [
    native_only,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(sys.platform != "linux", reason="loads a shared object"),
]

STAND_IN = """
int aoti_torch_get_current_cuda_stream(int device, void** stream) {
  *stream = (void*)(0x1000L + device);
  return device > 7;
}
"""
ASK = """
import ctypes, sys
import torch
if sys.argv[1:]:
    ctypes.CDLL(sys.argv[1])  # RTLD_LOCAL, as torch loads its own
import fastdiff._C
for device in (3, 9):
    try:
        print(hex(fastdiff._C.current_stream(device)))
    except RuntimeError as error:
        print(error)
"""


def ask(*libraries):
    done = run_python("-c", ASK, *libraries)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def torch_cuda(tmp_path_factory):
    """A library of the name that torch's has, with the one symbol that is wanted of it."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "cuda.c").write_text(STAND_IN)
    library = folder / "libtorch_cuda.so"
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", folder / "cuda.c"]
    subprocess.run([*command, "-o", library], check=True)
    return library


knows_cuda = torch.version.cuda is not None


@pytest.mark.skipif(knows_cuda, reason="this torch has a library of that name")
def test_the_stream_of_a_torch_that_knows_cuda(torch_cuda):
    assert ask(torch_cuda) == ["0x1003", "torch has no stream of cuda:9"]


@pytest.mark.skipif(knows_cuda, reason="this torch was built with CUDA")
def test_a_torch_without_cuda_is_named():
    assert ask()[0] == "this torch was built without CUDA: no stream of cuda:3"


@pytest.mark.skipif(not knows_cuda, reason="this torch was built without CUDA")
def test_the_stream_of_this_torch():
    """Found, whether or not there is a device to ask for it."""
    assert "without CUDA" not in ask()[0]
